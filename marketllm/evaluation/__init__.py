"""Metrics that check their input, intervals, paired tests, and surprise at text."""

from marketllm.evaluation.intervals import (
    Interval,
    PairedDifference,
    TestResult,
    bootstrap_interval,
    mcnemar,
    paired_bootstrap,
)
from marketllm.evaluation.language import mean_surprise
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
    "mean_surprise",
    "paired_bootstrap",
]
