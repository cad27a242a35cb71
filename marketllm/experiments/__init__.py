"""The long runs behind the book's claims: ``python -m marketllm.experiments``."""

from marketllm.experiments.applications.service import SERVICE
from marketllm.experiments.customers import CUSTOMERS
from marketllm.experiments.data_quality import DATA_QUALITY
from marketllm.experiments.distance import DISTANCE
from marketllm.experiments.finetuning import FINETUNING
from marketllm.experiments.first_result import FIRST_RESULT
from marketllm.experiments.ladder import LADDER
from marketllm.experiments.llama import LLAMA
from marketllm.experiments.minilm import MINILM
from marketllm.experiments.origin import provenance
from marketllm.experiments.pretraining import PRETRAINING
from marketllm.experiments.prompting import PROMPTING
from marketllm.experiments.runs import Experiment, Run, carry_out, load
from marketllm.experiments.texts import TEXTS
from marketllm.experiments.vectors import VECTORS
from marketllm.experiments.verdict import VERDICT

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        FIRST_RESULT,
        LADDER,
        PRETRAINING,
        FINETUNING,
        LLAMA,
        PROMPTING,
        VECTORS,
        MINILM,
        DATA_QUALITY,
        DISTANCE,
        TEXTS,
        CUSTOMERS,
        VERDICT,
        SERVICE,
    )
}

__all__ = [
    "CUSTOMERS",
    "DATA_QUALITY",
    "DISTANCE",
    "EXPERIMENTS",
    "FINETUNING",
    "FIRST_RESULT",
    "LADDER",
    "LLAMA",
    "MINILM",
    "PRETRAINING",
    "PROMPTING",
    "SERVICE",
    "TEXTS",
    "VECTORS",
    "VERDICT",
    "Experiment",
    "Run",
    "carry_out",
    "load",
    "provenance",
]
