"""Sentiment: how kind is a text, and what is it about."""

from marketllm.marketing.sentiment.aspects import (
    ASPECTS,
    Aspect,
    find_aspects,
    split_clauses,
)
from marketllm.marketing.sentiment.dashboard import aspect_opinions, product_dashboard
from marketllm.marketing.sentiment.estimators import (
    SentimentClassifier,
    SentimentGrader,
)

__all__ = [
    "ASPECTS",
    "Aspect",
    "SentimentClassifier",
    "SentimentGrader",
    "aspect_opinions",
    "find_aspects",
    "product_dashboard",
    "split_clauses",
]
