"""Text to token ids and back: by words, and by pieces of words."""

from marketllm.tokenizer.byte_pair import SPECIAL, BytePairTokenizer
from marketllm.tokenizer.words import PAD, UNKNOWN, WordTokenizer, split_words

__all__ = [
    "PAD",
    "SPECIAL",
    "UNKNOWN",
    "BytePairTokenizer",
    "WordTokenizer",
    "split_words",
]
