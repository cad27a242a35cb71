"""Weights that others trained, in our models."""

from marketllm.pretrained.gguf_file import GGUFFile, GGUFTensor, read_gguf
from marketllm.pretrained.minilm import SentenceEncoder, load_minilm
from marketllm.pretrained.smollm2 import PretrainedLlama, load_smollm2

__all__ = [
    "GGUFFile",
    "GGUFTensor",
    "PretrainedLlama",
    "SentenceEncoder",
    "load_minilm",
    "load_smollm2",
    "read_gguf",
]
