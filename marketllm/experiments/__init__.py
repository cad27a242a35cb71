"""The long runs behind the book's claims: ``python -m marketllm.experiments``."""

from marketllm.experiments.first_result import FIRST_RESULT
from marketllm.experiments.ladder import LADDER
from marketllm.experiments.origin import provenance
from marketllm.experiments.runs import Experiment, Run, carry_out, load

EXPERIMENTS = {experiment.name: experiment for experiment in (FIRST_RESULT, LADDER)}

__all__ = [
    "EXPERIMENTS",
    "FIRST_RESULT",
    "LADDER",
    "Experiment",
    "Run",
    "carry_out",
    "load",
    "provenance",
]
