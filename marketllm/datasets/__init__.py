"""Data behind one interface: a `Dataset` or an `EventLog`, each with a `DataCard`."""

from marketllm.datasets.caravan import load_caravan
from marketllm.datasets.card import COLUMNS, DataCard, Dataset, fingerprint
from marketllm.datasets.cdnow import load_cdnow
from marketllm.datasets.chinese_reviews import load_chinese_reviews
from marketllm.datasets.churn import load_churn
from marketllm.datasets.events import EventLog, buys_again
from marketllm.datasets.movielens import load_movielens
from marketllm.datasets.own_customers import load_customers_csv
from marketllm.datasets.own_reviews import load_reviews_csv
from marketllm.datasets.rated_sentences import load_rated_sentences
from marketllm.datasets.reviews import load_fine_food_reviews
from marketllm.datasets.simulated import (
    Ceiling,
    SimulatedCustomers,
    SimulationConfig,
    campaign_chances,
    distance_dial,
    run_campaign,
    simulate_customers,
)
from marketllm.datasets.split import copy_key, group_folds, row_groups

__all__ = [
    "COLUMNS",
    "Ceiling",
    "DataCard",
    "Dataset",
    "EventLog",
    "SimulatedCustomers",
    "SimulationConfig",
    "buys_again",
    "campaign_chances",
    "copy_key",
    "distance_dial",
    "fingerprint",
    "group_folds",
    "load_caravan",
    "load_cdnow",
    "load_chinese_reviews",
    "load_churn",
    "load_customers_csv",
    "load_fine_food_reviews",
    "load_movielens",
    "load_rated_sentences",
    "load_reviews_csv",
    "row_groups",
    "run_campaign",
    "simulate_customers",
]
