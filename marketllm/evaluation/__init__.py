"""Metrics that check their input, intervals, and paired tests."""

from marketllm.evaluation.intervals import (
    Interval,
    PairedDifference,
    TestResult,
    bootstrap_interval,
    mcnemar,
    paired_bootstrap,
)
from marketllm.evaluation.metrics import (
    OneClassError,
    accuracy,
    auc,
    average_precision,
)

__all__ = [
    "Interval",
    "OneClassError",
    "PairedDifference",
    "TestResult",
    "accuracy",
    "auc",
    "average_precision",
    "bootstrap_interval",
    "mcnemar",
    "paired_bootstrap",
]
