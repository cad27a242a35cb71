"""The long runs behind the book's claims: ``python -m marketllm.experiments``."""

from marketllm.experiments.applications.sentiment import SENTIMENT
from marketllm.experiments.applications.service import SERVICE
from marketllm.experiments.applications.targeting import TARGETING
from marketllm.experiments.case_study.customers import CUSTOMERS
from marketllm.experiments.case_study.data_quality import DATA_QUALITY
from marketllm.experiments.case_study.distance import DISTANCE
from marketllm.experiments.case_study.improving import IMPROVING
from marketllm.experiments.case_study.minilm import MINILM
from marketllm.experiments.case_study.texts import TEXTS
from marketllm.experiments.case_study.verdict import VERDICT
from marketllm.experiments.finetuning import FINETUNING
from marketllm.experiments.first_result import FIRST_RESULT
from marketllm.experiments.ladder import LADDER
from marketllm.experiments.llama import LLAMA
from marketllm.experiments.origin import provenance
from marketllm.experiments.pretraining import PRETRAINING
from marketllm.experiments.prompting import PROMPTING
from marketllm.experiments.runs import Experiment, Run, carry_out, load
from marketllm.experiments.vectors import VECTORS

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
        IMPROVING,
        DISTANCE,
        TEXTS,
        CUSTOMERS,
        VERDICT,
        SENTIMENT,
        TARGETING,
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
    "IMPROVING",
    "LADDER",
    "LLAMA",
    "MINILM",
    "PRETRAINING",
    "PROMPTING",
    "SENTIMENT",
    "SERVICE",
    "TARGETING",
    "TEXTS",
    "VECTORS",
    "VERDICT",
    "Experiment",
    "Run",
    "carry_out",
    "load",
    "provenance",
]
