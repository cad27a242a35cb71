"""Marketing tasks, each as an estimator that follows scikit-learn's conventions."""

from marketllm.marketing.histories import HistoryTokenizer
from marketllm.marketing.intent import PurchaseIntent
from marketllm.marketing.sequences import SequenceClassifier

__all__ = ["HistoryTokenizer", "PurchaseIntent", "SequenceClassifier"]
