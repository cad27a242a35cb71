"""Attention: the function, the masks, and many heads side by side.

A mask is boolean and True means "may look". It broadcasts to the scores.
"""

from marketllm.attention.function import (
    attention,
    attention_weights,
    causal_mask,
    padding_mask,
)
from marketllm.attention.multi_head import MultiHeadAttention

__all__ = [
    "MultiHeadAttention",
    "attention",
    "attention_weights",
    "causal_mask",
    "padding_mask",
]
