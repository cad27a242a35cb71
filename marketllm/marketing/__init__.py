"""Marketing tasks, each as an estimator that follows scikit-learn's conventions."""

from marketllm.marketing.histories import HistoryTokenizer
from marketllm.marketing.intent import PurchaseIntent
from marketllm.marketing.sequences import SequenceClassifier
from marketllm.marketing.targeting import DoublyRobust, TransformedOutcome, TwoModel

__all__ = [
    "DoublyRobust",
    "HistoryTokenizer",
    "PurchaseIntent",
    "SequenceClassifier",
    "TransformedOutcome",
    "TwoModel",
]
