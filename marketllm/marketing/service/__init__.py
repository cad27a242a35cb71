"""Customer service: answers that rest on the shop's terms and on one's own orders."""

from marketllm.marketing.service.assistant import (
    ServiceAnswer,
    ServiceAssistant,
)
from marketllm.marketing.service.guard import grounded_share, objections
from marketllm.marketing.service.orders import Order, OrderBook, larkmoor_orders
from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.policy import larkmoor_terms
from marketllm.marketing.service.retrieval import (
    PassageSearch,
    reciprocal_rank_fusion,
)
from marketllm.marketing.service.routing import (
    asks_for_own,
    handover_reason,
    order_numbers,
)
from marketllm.marketing.service.words import plain
from marketllm.marketing.service.writing import grounded_messages, llama_writer

__all__ = [
    "Order",
    "OrderBook",
    "Passage",
    "PassageSearch",
    "ServiceAnswer",
    "ServiceAssistant",
    "asks_for_own",
    "grounded_messages",
    "grounded_share",
    "handover_reason",
    "larkmoor_orders",
    "larkmoor_terms",
    "llama_writer",
    "objections",
    "order_numbers",
    "plain",
    "reciprocal_rank_fusion",
]
