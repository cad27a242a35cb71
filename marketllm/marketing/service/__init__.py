"""Customer service: answers that rest on the shop's terms and on one's own orders."""

from marketllm.marketing.service.assistant import (
    ServiceAnswer,
    ServiceAssistant,
    grounded_messages,
    llama_writer,
)
from marketllm.marketing.service.guard import grounded_share, objections
from marketllm.marketing.service.orders import Order, OrderBook, larkmoor_orders
from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.policy import larkmoor_terms
from marketllm.marketing.service.retrieval import (
    PassageSearch,
    reciprocal_rank_fusion,
)
from marketllm.marketing.service.routing import handover_reason

__all__ = [
    "Order",
    "OrderBook",
    "Passage",
    "PassageSearch",
    "ServiceAnswer",
    "ServiceAssistant",
    "grounded_messages",
    "grounded_share",
    "handover_reason",
    "larkmoor_orders",
    "larkmoor_terms",
    "llama_writer",
    "objections",
    "reciprocal_rank_fusion",
]
