"""Models for the tests of writing: two made by hand, and a small random Llama."""

import torch
from torch import nn

from marketllm.config import LlamaConfig, ModelConfig
from marketllm.models import GPT, Llama

V, MAX_LEN = 6, 4


class Counter(GPT):
    """1, 2, 3, 4, 5, 1, ...; the next one has 2 nats on the others."""

    def __init__(self, scores=(0.0,) * V):
        super().__init__(ModelConfig(V, MAX_LEN, d_model=4, n_heads=2, n_layers=1))
        self.scores = torch.tensor(scores)
        self.seen = []

    def forward(self, ids):
        self.seen.append(ids.tolist())
        following = 1 + ids % (V - 1)
        return 2.0 * nn.functional.one_hot(following, V) + self.scores


class Script(GPT):
    """Write the ids of a script behind a prompt of one token."""

    def __init__(self, script, vocab_size):
        super().__init__(
            ModelConfig(vocab_size, len(script) + 2, d_model=2, n_heads=1, n_layers=1)
        )
        self.script, self.n_read = list(script), 0

    def forward(self, ids):
        self.n_read += 1
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        logits[:, -1, self.script[ids.shape[1] - 1]] = 9.0
        return logits


def tiny_llama(seed=3, **changes):
    """A random Llama that is sure of something, so that no two tokens are level."""
    sizes = {"vocab_size": 47, "max_len": 40, "d_model": 24, "n_heads": 6}
    sizes |= {"n_kv_heads": 2, "n_layers": 2, "d_ff": 20, "tied": False}
    torch.manual_seed(seed)
    model = Llama(LlamaConfig(**(sizes | changes)))
    for weight in model.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.3)
        else:
            nn.init.uniform_(weight, 0.5, 1.5)
    return model.eval()


def draw(seed):
    return torch.Generator().manual_seed(seed)
