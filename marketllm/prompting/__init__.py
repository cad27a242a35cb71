"""Classify texts by asking a language model."""

from marketllm.prompting.classifier import CONTENT_FREE, PromptClassifier

__all__ = ["CONTENT_FREE", "PromptClassifier"]
