"""Simulated customers: the chance of each label is known, so the ceiling is too."""

from marketllm.datasets.simulated.campaign import campaign_chances, run_campaign
from marketllm.datasets.simulated.ceiling import Ceiling
from marketllm.datasets.simulated.config import SimulationConfig, distance_dial
from marketllm.datasets.simulated.customers import (
    SimulatedCustomers,
    simulate_customers,
)

__all__ = [
    "Ceiling",
    "SimulatedCustomers",
    "SimulationConfig",
    "campaign_chances",
    "distance_dial",
    "run_campaign",
    "simulate_customers",
]
