"""PyTorch's own layers with our weights in them, and how to compare the two.

A twin is the layer of PyTorch that should do the same as ours. ``pairs`` says
which of our parameters stand in which of the twin's: it copies the weights, and
afterwards it compares their gradients.

PyTorch's boolean masks have the opposite sign in ``nn.MultiheadAttention`` and
the layers built on it (True hides a key) and our sign in
``F.scaled_dot_product_attention`` (True shows it).
"""

import torch
from torch import Tensor, nn

# Largest difference allowed, forward and gradient: two programs that sum the
# same products in another order differ by a few units in the last place.
FORWARD = {torch.float32: 1e-6, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-5, torch.float64: 1e-10}
DTYPES = (torch.float32, torch.float64)


def pairs(ours: nn.Module, twin: nn.Module) -> list[tuple[str, list[Tensor], Tensor]]:
    """Name the parameters of the twin, and ours that stand in them, in order."""
    if isinstance(twin, nn.MultiheadAttention):
        projections = [ours.to_query, ours.to_key, ours.to_value]
        return [
            ("in_proj_weight", [p.weight for p in projections], twin.in_proj_weight),
            ("in_proj_bias", [p.bias for p in projections], twin.in_proj_bias),
            *pairs(ours.to_output, twin.out_proj),
        ]
    if isinstance(twin, nn.TransformerEncoderLayer):
        parts = [
            (ours.self_attention, twin.self_attn),
            (ours.feed_forward.inner, twin.linear1),
            (ours.feed_forward.outer, twin.linear2),
            (ours.around_attention.norm, twin.norm1),
            (ours.around_feed_forward.norm, twin.norm2),
        ]
    elif isinstance(twin, nn.TransformerDecoderLayer):
        parts = [
            (ours.self_attention, twin.self_attn),
            (ours.cross_attention, twin.multihead_attn),
            (ours.feed_forward.inner, twin.linear1),
            (ours.feed_forward.outer, twin.linear2),
            (ours.around_self.norm, twin.norm1),
            (ours.around_cross.norm, twin.norm2),
            (ours.around_feed_forward.norm, twin.norm3),
        ]
    else:  # Linear and LayerNorm: the same two names on both sides
        return [
            (f"{type(twin).__name__}.{name}", [getattr(ours, name)], parameter)
            for name, parameter in twin.named_parameters()
        ]
    return [pair for part in parts for pair in pairs(*part)]


def copy_weights(ours: nn.Module, twin: nn.Module) -> None:
    """Put our weights into the twin, and see that none is left out."""
    found = pairs(ours, twin)
    with torch.no_grad():
        for _, parts, theirs in found:
            theirs.copy_(torch.cat(parts))
    n_ours = sum(p.numel() for p in ours.parameters())
    n_theirs = sum(p.numel() for p in twin.parameters())
    n_pairs = sum(theirs.numel() for _, _, theirs in found)
    assert n_pairs == n_ours == n_theirs, (n_pairs, n_ours, n_theirs)


def vary(module: nn.Module) -> None:
    """Move every parameter off its start: biases of 0 and gains of 1 hide bugs."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


def attention_twin(ours: nn.Module, d_model: int) -> nn.MultiheadAttention:
    """Build PyTorch's multi-head attention with our weights."""
    dtype = ours.to_query.weight.dtype
    twin = nn.MultiheadAttention(d_model, ours.n_heads, batch_first=True, dtype=dtype)
    copy_weights(ours, twin)
    return twin


def layer_twin(ours: nn.Module, norm_first: bool, dropout: float = 0.0) -> nn.Module:
    """Build PyTorch's encoder or decoder layer with our weights."""
    decoder = hasattr(ours, "cross_attention")
    layer = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
    weight = ours.feed_forward.inner.weight
    twin = layer(
        d_model=weight.shape[1],
        nhead=ours.self_attention.n_heads,
        dim_feedforward=weight.shape[0],
        dropout=dropout,
        norm_first=norm_first,
        batch_first=True,
        dtype=weight.dtype,
    )
    copy_weights(ours, twin)
    return twin


def assert_same(ours: Tensor, theirs: Tensor, atol: float, what: str = "") -> None:
    """Assert equal shapes and values, of which some are far from zero."""
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    assert ours.dtype == theirs.dtype, (what, ours.dtype, theirs.dtype)
    assert theirs.abs().max() > 1e-2, f"{what}: nothing but zeros to compare"
    difference = float((ours - theirs).abs().max().detach())
    assert difference <= atol, f"{what}: differs by {difference:.2e} > {atol:.0e}"


def assert_same_gradients(ours: nn.Module, twin: nn.Module, atol: float) -> None:
    """Compare the gradient of every parameter of the two."""
    for name, parts, theirs in pairs(ours, twin):
        gradient = torch.cat([part.grad for part in parts])
        assert_same(gradient, theirs.grad, atol, f"gradient of {name}")


def assert_same_run(ours, theirs, inputs: list[Tensor], dtype: torch.dtype) -> None:
    """Run two functions, compare the outputs and the gradients of the inputs.

    The loss is a random weighted sum: a plain sum after LayerNorm has gradient 0.
    """
    left = [x.detach().clone().requires_grad_() for x in inputs]
    right = [x.detach().clone().requires_grad_() for x in inputs]
    out_left, out_right = ours(*left), theirs(*right)
    assert_same(out_left, out_right, FORWARD[dtype], "output")
    direction = torch.randn_like(out_left)
    (out_left * direction).sum().backward()
    (out_right * direction).sum().backward()
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        assert_same(a.grad, b.grad, GRADIENT[dtype], f"gradient of input {i}")
