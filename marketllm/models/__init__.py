"""Whole models: token ids in, vectors or logits out."""

from marketllm.models.classifier import Classifier, masked_mean
from marketllm.models.encoder import Embedding, Encoder
from marketllm.models.encoder_decoder import EncoderDecoder
from marketllm.models.language import GPT, MaskedLanguageModel
from marketllm.models.llama import Llama, LlamaBlock
from marketllm.models.recurrent import RecurrentClassifier

__all__ = [
    "GPT",
    "Classifier",
    "Embedding",
    "Encoder",
    "EncoderDecoder",
    "Llama",
    "LlamaBlock",
    "MaskedLanguageModel",
    "RecurrentClassifier",
    "masked_mean",
]
