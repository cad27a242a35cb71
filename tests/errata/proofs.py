"""What several proofs of errata need."""

import torch
from torch import Tensor, nn
from torch_twins import layer_twin

from marketllm.blocks import DecoderBlock, EncoderBlock
from marketllm.config import ModelConfig
from marketllm.layers import FeedForward, LayerNorm

ROUNDING = 1e-12


def gap(first: Tensor, second: Tensor) -> float:
    """Give the largest difference between two tensors of one shape."""
    assert first.shape == second.shape
    return (first - second).abs().max().item()


@torch.no_grad()
def reach(function, x: Tensor, place: int, axis: int = 1) -> Tensor:
    """Change ``x`` at one place of an axis; tell how far the output moves at each."""
    other = x.clone()
    at = other.select(axis, place)
    at.copy_(torch.randn_like(at) if x.is_floating_point() else at + 1)
    moved = (function(other) - function(x)).abs()
    return moved.movedim(axis, 0).flatten(1).amax(dim=1)


def sizes(**changes) -> ModelConfig:
    """Give a small model without dropout; every axis has a size of its own."""
    small = {"vocab_size": 13, "max_len": 12, "d_model": 16, "n_heads": 2, "d_ff": 24}
    return ModelConfig(**(small | {"dropout": 0.0} | changes))


def random_ids(*shape: int) -> Tensor:
    """Draw token ids that are no padding, and are still ids when 1 is added."""
    return torch.randint(1, 12, shape)


@torch.no_grad()
def quiet(linear: nn.Linear) -> nn.Linear:
    """Set a layer to zero, as if it had learned nothing yet."""
    linear.weight.zero_()
    linear.bias.zero_()
    return linear


def torch_layer(block: EncoderBlock | DecoderBlock) -> nn.Module:
    """Build PyTorch's post-norm layer with the weights of our block."""
    return layer_twin(block, norm_first=False)


class Layer(nn.Module):
    """A post-norm layer on PyTorch's attention; two of the article's slips switch on.

    The slips are ``batch_first=False`` and one mask for both attentions.
    """

    def __init__(self, batch_first=True, cross=False, d_model=16, n_heads=2, d_ff=24):
        super().__init__()
        self.looks = nn.ModuleList(
            nn.MultiheadAttention(d_model, n_heads, batch_first=batch_first)
            for _ in range(1 + cross)
        )
        self.feed = FeedForward(d_model, d_ff)
        self.norms = nn.ModuleList(LayerNorm(d_model) for _ in range(2 + cross))

    def forward(self, x, memory=None, mask=None):
        look = self.looks[0]
        x = self.norms[0](x + look(x, x, x, attn_mask=mask)[0])
        if memory is not None:
            look = self.looks[1]
            x = self.norms[1](x + look(x, memory, memory, attn_mask=mask)[0])
        return self.norms[-1](x + self.feed(x))


def train(model: nn.Module, loss, n_steps: int = 150) -> None:
    """Take some steps of Adam on a loss that draws its own batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss(32).backward()
        optimizer.step()
