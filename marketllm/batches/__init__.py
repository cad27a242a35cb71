"""Sequences of token ids to batches of equal length.

Each kind of batches can be passed through once an epoch and knows its length. Its
``generator`` draws all that is random: its state is all that an epoch depends on.
"""

from marketllm.batches.labelled import LabelledBatches
from marketllm.batches.masked import MaskedBatches, corrupt
from marketllm.batches.next_token import NextTokenBatches
from marketllm.batches.padding import IGNORE, pad, shift_right

__all__ = [
    "IGNORE",
    "LabelledBatches",
    "MaskedBatches",
    "NextTokenBatches",
    "corrupt",
    "pad",
    "shift_right",
]
