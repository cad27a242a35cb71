"""Text to token ids and back: by words, and by pieces of words."""

from marketllm.tokenizer.byte_pair import BytePairTokenizer
from marketllm.tokenizer.chat import ChatTemplate
from marketllm.tokenizer.vocabulary import SPECIAL
from marketllm.tokenizer.words import PAD, UNKNOWN, WordTokenizer, split_words

__all__ = [
    "PAD",
    "SPECIAL",
    "UNKNOWN",
    "BytePairTokenizer",
    "ChatTemplate",
    "WordTokenizer",
    "split_words",
]
