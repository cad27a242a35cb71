"""Metrics that check their input, curves, intervals, comparisons, surprise at text."""

from marketllm.evaluation.comparisons import (
    PairedDifference,
    TestResult,
    holm,
    mcnemar,
    paired_bootstrap,
)
from marketllm.evaluation.curves import (
    calibration_table,
    gain_curve,
    lift,
    profit_curve,
    profit_threshold,
)
from marketllm.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    mean_interval,
)
from marketllm.evaluation.language import mean_surprise
from marketllm.evaluation.metrics import (
    OneClassError,
    accuracy,
    auc,
    average_precision,
    brier,
)
from marketllm.evaluation.runs import compare_runs

__all__ = [
    "Interval",
    "OneClassError",
    "PairedDifference",
    "TestResult",
    "accuracy",
    "auc",
    "average_precision",
    "bootstrap_interval",
    "brier",
    "calibration_table",
    "compare_runs",
    "gain_curve",
    "holm",
    "lift",
    "mcnemar",
    "mean_interval",
    "mean_surprise",
    "paired_bootstrap",
    "profit_curve",
    "profit_threshold",
]
