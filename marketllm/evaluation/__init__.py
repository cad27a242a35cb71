"""Metrics that check their input: classes, ranked lists, effects, texts; intervals."""

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
from marketllm.evaluation.policies import (
    estimated_profit,
    policy_value,
    true_profit,
)
from marketllm.evaluation.runs import compare_runs
from marketllm.evaluation.uplift import auuc, qini, uplift_curve, uplift_interval

__all__ = [
    "Interval",
    "OneClassError",
    "PairedDifference",
    "TestResult",
    "accuracy",
    "auc",
    "auuc",
    "average_precision",
    "bootstrap_interval",
    "brier",
    "calibration_table",
    "compare_runs",
    "estimated_profit",
    "gain_curve",
    "holm",
    "lift",
    "mcnemar",
    "mean_interval",
    "mean_surprise",
    "paired_bootstrap",
    "policy_value",
    "profit_curve",
    "profit_threshold",
    "qini",
    "true_profit",
    "uplift_curve",
    "uplift_interval",
]
