"""Simulated customers: the chance of each label is known, so the ceiling is too."""

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
    "distance_dial",
    "simulate_customers",
]
