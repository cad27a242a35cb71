"""Whom does the campaign move? Uplift learners with one interface.

Each is made around a model of yours, learns from a campaign that is over, and says of
other customers how much the campaign would add to their chance to buy::

    learner = TwoModel(table_lightgbm()).fit(customers, treated, labels)
    uplift = learner.effect(others)
"""

from marketllm.marketing.targeting.doubly_robust import DoublyRobust
from marketllm.marketing.targeting.transformed import TransformedOutcome
from marketllm.marketing.targeting.two_model import TwoModel

__all__ = ["DoublyRobust", "TransformedOutcome", "TwoModel"]
