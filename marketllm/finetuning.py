"""Fine-tuning with few weights: freezing, and LoRA written out.

Freeze a model, add LoRA, train, merge::

    freeze(classifier, except_for=("to_logits",))
    add_lora(classifier, rank=4, alpha=8)
    ...  # train as always: only what is not frozen moves
    merge_lora(classifier)  # plain linear layers again
"""

import math
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LoRA(nn.Module):
    r"""A frozen linear layer plus a thin product of two small matrices.

    .. math:: W x + b + \frac{\alpha}{r} B A x

    W and b stay as they are; only A and B learn. B starts at zero, so at the start
    the layer does exactly what it did before.

    Parameters
    ----------
    linear : nn.Linear
        The layer to adapt. It is frozen and kept inside.
    rank : int
        Rows of A and columns of B, r.
    alpha : float
        The product is multiplied by ``alpha / rank``.

    Attributes
    ----------
    down : nn.Parameter of shape (rank, in_features)
        A: from the layer's input to a few numbers.
    up : nn.Parameter of shape (out_features, rank)
        B: from a few numbers to the layer's output.

    Raises
    ------
    ValueError
        If ``rank`` is below 1 or ``alpha`` is not positive.

    References
    ----------
    Hu et al. (2022), LoRA, section 4.1. A starts as in their published code and in
    the library peft: Kaiming-uniform with the root of 5, that is, uniform within
    one over the root of ``in_features``.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank is {rank}: give at least 1.")
        if not alpha > 0:
            raise ValueError(
                f"alpha is {alpha}: the product of A and B is multiplied by "
                f"alpha / {rank}, so give a number above 0."
            )
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.scale = alpha / rank
        self.linear = linear.requires_grad_(False)
        self.down = nn.Parameter(linear.weight.new_empty(rank, self.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Apply the frozen layer, and add what A and B have learned.

        Parameters
        ----------
        x : Tensor of shape (..., I)
            As many numbers as the layer takes in.

        Returns
        -------
        Tensor of shape (..., O)
        """
        return self.linear(x) + x @ self.down.T @ self.up.T * self.scale

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return one plain layer, still frozen, that does the same.

        Returns
        -------
        nn.Linear
            Its weight is W plus the scaled product of B and A.
        """
        weight = self.linear.weight + self.scale * self.up @ self.down
        self.linear.weight = nn.Parameter(weight, requires_grad=False)
        return self.linear


def add_lora(
    model: nn.Module,
    rank: int,
    alpha: float,
    names: Collection[str] = ("to_query", "to_value"),
) -> None:
    """Put LoRA in the place of every linear layer that has one of some names.

    The layers are frozen, and the new weights are not. The rest of the model is left
    as it is: freeze it first with :func:`freeze`.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    rank, alpha
        As for :class:`LoRA`.
    names : collection of str
        What the layers are called where they are used. The default adapts queries
        and values, as the paper does.

    Raises
    ------
    ValueError
        If a name fits no linear layer, the model has LoRA already, or ``rank`` or
        ``alpha`` is impossible.

    References
    ----------
    Hu et al. (2022), LoRA, sections 4.2 and 7.1.
    """
    adapted = [path for path, part in model.named_modules() if isinstance(part, LoRA)]
    if adapted:
        raise ValueError(
            f"the model has {len(adapted)} LoRA layers already, the first at "
            f"{adapted[0]!r}: merge them with merge_lora, or begin with a fresh model."
        )
    linears = {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    }
    known = {path.rpartition(".")[2] for path in linears}
    _require_known("names", names, known, "linear layer")
    if not names:
        raise ValueError(f"names is empty: give some of {sorted(known)}.")
    for path, linear in linears.items():
        if path.rpartition(".")[2] in names:
            model.set_submodule(path, LoRA(linear, rank, alpha))


def merge_lora(model: nn.Module) -> None:
    """Put a plain linear layer back for each LoRA: the same outputs, no more cost.

    Parameters
    ----------
    model : nn.Module
        Changed in place. The weights that LoRA froze stay frozen. A weight that a
        layer shared, as the output table of a tied Llama, is shared no longer: such a
        state fits a model with ``tied=False``.

    Raises
    ------
    ValueError
        If there is no LoRA in the model.
    """
    loras = {
        path: part for path, part in model.named_modules() if isinstance(part, LoRA)
    }
    if not loras:
        raise ValueError("the model has 0 LoRA layers: call add_lora first.")
    for path, lora in loras.items():
        model.set_submodule(path, lora.merged())


def freeze(model: nn.Module, except_for: Collection[str] = ()) -> None:
    """Stop the weights of a model from learning, except for some.

    Parameters
    ----------
    model : nn.Module
        Changed in place. A frozen weight gets no gradient, so no optimiser moves it.
    except_for : collection of str
        Names of layers or weights that learn: ``"to_logits"`` leaves the head free.
        A name fits a weight if it is one of the parts of the weight's dotted name.

    Raises
    ------
    ValueError
        If a name fits no weight.
    """
    parts = {name: set(name.split(".")) for name, _ in model.named_parameters()}
    known = {part for found in parts.values() for part in found}
    _require_known("except_for", except_for, known, "weight")
    for name, weight in model.named_parameters():
        weight.requires_grad_(not parts[name].isdisjoint(except_for))


def n_trainable(model: nn.Module) -> int:
    """Count the numbers that training can change.

    Parameters
    ----------
    model : nn.Module
        Any model.

    Returns
    -------
    int
    """
    return sum(weight.numel() for weight in trainable_weights(model).values())


def trainable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Give the weights that are not frozen: all that a task needs to keep.

    Parameters
    ----------
    model : nn.Module
        Any model.

    Returns
    -------
    dict of str to Tensor
        By name, without gradients. ``load_state_dict(..., strict=False)`` puts them
        into a model with the same body.
    """
    return {
        name: weight.detach()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def _require_known(
    argument: str, names: Collection[str], known: Collection[str], what: str
) -> None:
    if isinstance(names, str):
        raise ValueError(f"{argument} is one string: give a list such as [{names!r}].")
    missing = sorted(set(names) - set(known))
    if missing:
        raise ValueError(
            f"{argument} has {missing[0]!r}, but no {what} of the model is called so; "
            f"there are {sorted(known)}."
        )
