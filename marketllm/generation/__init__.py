"""Writing: the next token drawn, put behind the text, and the text read again."""

from marketllm.generation.sampling import GREEDY, Sampling, next_probabilities
from marketllm.generation.text import stream, write
from marketllm.generation.tokens import generate

__all__ = [
    "GREEDY",
    "Sampling",
    "generate",
    "next_probabilities",
    "stream",
    "write",
]
