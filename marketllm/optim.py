"""How the gradient moves the weights."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

Group = dict[str, Any]
Parameters = Iterable[Tensor] | Iterable[Group]


class SGD(Optimizer):
    r"""Gradient descent, with momentum if wanted.

    .. math::
        u_t &= \mu u_{t-1} + g_t \\
        \theta_t &= \theta_{t-1} - \alpha u_t

    It is stochastic when the gradient comes from a random batch.

    Parameters
    ----------
    parameters : iterable of Tensor or dict
        What to train: weights, or groups with settings of their own.
    learning_rate : float
        Step size, :math:`\alpha`; called ``lr`` in the groups.
    momentum : float
        Share of the velocity that the next step keeps, :math:`\mu`; below 1.

    Raises
    ------
    ValueError
        If there is nothing to train, or a setting is impossible.

    References
    ----------
    Goodfellow, Bengio and Courville (2016), algorithms 8.1 and 8.2; as in
    PyTorch, the velocity is multiplied by the learning rate only when it is used.
    """

    def __init__(
        self, parameters: Parameters, learning_rate: float, momentum: float = 0.0
    ) -> None:
        defaults = {"lr": learning_rate, "momentum": momentum}
        super().__init__(_listed(parameters), defaults)
        _check_groups(self.param_groups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for weight, gradient, state, group in _gradients(self):
            move = gradient
            if group["momentum"] > 0:
                if state:
                    move = state["velocity"].mul_(group["momentum"]).add_(gradient)
                else:
                    move = state["velocity"] = gradient.clone()
            weight.add_(move, alpha=-group["lr"])


class Adam(Optimizer):
    r"""Steps of nearly one size for every weight, however steep the loss is.

    .. math::
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t) \\
        \hat v_t &= v_t / (1 - \beta_2^t) \\
        \theta_t &= \theta_{t-1} - \alpha \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Parameters
    ----------
    parameters : iterable of Tensor or dict
        What to train: weights, or groups with settings of their own.
    learning_rate : float
        Step size, :math:`\alpha`; called ``lr`` in the groups.
    betas : tuple of float
        How much of the two averages is kept at each step; both below 1.
    eps : float
        Added to the denominator, outside the root.

    Raises
    ------
    ValueError
        If there is nothing to train, or a setting is impossible.

    References
    ----------
    Kingma and Ba (2015), algorithm 1.
    """

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": learning_rate, "betas": betas, "eps": eps}
        super().__init__(_listed(parameters), defaults)
        _check_groups(self.param_groups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for weight, gradient, state, group in _gradients(self):
            _adam_update(weight, gradient, state, group)


class AdamW(Optimizer):
    r"""Adam that also shrinks the weights, apart from the gradient.

    .. math:: \theta \leftarrow (1 - \alpha \lambda) \theta

    and then a step of Adam. A penalty in the loss would go through the
    averages, and weights with steep gradients would hardly shrink.

    Parameters
    ----------
    parameters : iterable of Tensor or dict
        What to train: weights, or groups with settings of their own.
    learning_rate : float
        Step size, :math:`\alpha`; called ``lr`` in the groups.
    betas : tuple of float
        How much of the two averages is kept at each step; both below 1.
    eps : float
        Added to the denominator, outside the root.
    weight_decay : float
        Decay per unit of learning rate, :math:`\lambda`.

    Raises
    ------
    ValueError
        If there is nothing to train, or a setting is impossible.

    References
    ----------
    Loshchilov and Hutter (2019), algorithm 2; decay times rate as in PyTorch.
    """

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {"lr": learning_rate, "betas": betas, "eps": eps}
        super().__init__(_listed(parameters), defaults | {"weight_decay": weight_decay})
        _check_groups(self.param_groups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Shrink and move every weight that has a gradient."""
        for weight, gradient, state, group in _gradients(self):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            _adam_update(weight, gradient, state, group)


@torch.no_grad()
def clip_gradient_norm(
    parameters: Iterable[Tensor], max_norm: float
) -> Float[Tensor, ""]:
    """Scale all gradients down together if their common length is too large.

    If one of them is NaN or infinite, so is the length: do not step then.

    Parameters
    ----------
    parameters : iterable of Tensor
        Their gradients are scaled in place; those without one are left out.
    max_norm : float
        The largest Euclidean length allowed.

    Returns
    -------
    Tensor of shape ()
        The length before clipping; 0 if there is no gradient.

    Raises
    ------
    ValueError
        If ``max_norm`` is not above 0, or there are no parameters.

    References
    ----------
    Pascanu, Mikolov and Bengio (2013), algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}: give a number above 0.")
    gradients = [w.grad for w in _listed(parameters) if w.grad is not None]
    lengths = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norm = torch.linalg.vector_norm(torch.stack(lengths or [torch.tensor(0.0)]))
    factor = (max_norm / (norm + 1e-6)).clamp(max=1)  # PyTorch's margin against 0
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def warmup_cosine(
    step: int, n_steps: int, n_warmup: int = 0, floor: float = 0.0
) -> float:
    r"""Share of the learning rate that one update uses.

    For the first :math:`w` updates it is :math:`(s + 1) / (w + 1)`. At :math:`s = w`
    it is 1, and from there it follows half a cosine down to the floor.

    .. math:: f + (1 - f) (1 + \cos(\pi (s - w) / (n - w))) / 2

    Parameters
    ----------
    step : int
        Updates made before this one, :math:`s`: from 0 to ``n_steps`` - 1. At
        ``n_steps`` itself, after the run, the floor is reached.
    n_steps : int
        Updates in the whole run, :math:`n`.
    n_warmup : int
        Updates before the one at the full learning rate, :math:`w`.
    floor : float
        Share at the end of the run, :math:`f`.

    Returns
    -------
    float
        A factor between 0 and 1.

    Raises
    ------
    ValueError
        If warm-up or step do not fit into the run, or the floor is no share.

    References
    ----------
    Goyal et al. (2017), section 2.2 (warm-up); Loshchilov and Hutter (2017),
    equation 5 (cosine).
    """
    if not 0 <= n_warmup < n_steps:
        raise ValueError(
            f"n_warmup={n_warmup} is not shorter than n_steps={n_steps}: lower it."
        )
    if not 0 <= step <= n_steps:
        raise ValueError(
            f"step {step} is outside 0 to {n_steps}: n_steps must be the whole run."
        )
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is {floor}, but it is a share: give 0 to 1.")
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    progress = (step - n_warmup) / (n_steps - n_warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def _gradients(optimizer: Optimizer) -> Iterator[tuple[Tensor, Tensor, Group, Group]]:
    """Go through the weights that have a gradient, with their state and group."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                yield weight, weight.grad, optimizer.state[weight], group


def _adam_update(weight: Tensor, gradient: Tensor, state: Group, group: Group) -> None:
    """Do the five lines of the algorithm, in PyTorch's order of operations."""
    if not state:
        state |= {"t": 0, "m": torch.zeros_like(weight), "v": torch.zeros_like(weight)}
    m, v, (beta1, beta2) = state["m"], state["v"], group["betas"]
    state["t"] += 1
    m.lerp_(gradient, 1 - beta1)  # m = beta1 * m + (1 - beta1) * gradient
    v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    correction1 = 1 - beta1 ** state["t"]  # m_hat = m / correction1
    correction2 = 1 - beta2 ** state["t"]  # v_hat = v / correction2
    denominator = (v.sqrt() / correction2**0.5).add_(group["eps"])
    weight.addcdiv_(m, denominator, value=-group["lr"] / correction1)


def _listed(parameters: Iterable[Any]) -> list[Any]:
    if isinstance(parameters, Tensor):
        raise ValueError("parameters is 1 tensor: put it into a list.")
    if listed := list(parameters):
        return listed
    raise ValueError("no parameters (0): give at least 1; was the iterator used up?")


def _check_groups(groups: list[Group]) -> None:
    for group in groups:
        rate = group["lr"]
        if not 0 < rate < math.inf:
            raise ValueError(f"learning_rate is {rate}: give a finite number above 0.")
        if "learning_rate" in group:
            raise ValueError(f"a group calls it lr (now {rate}), not learning_rate.")
        shares = dict(zip(("beta1", "beta2"), group.get("betas", ()), strict=False))
        for name, value in (shares | {"momentum": group.get("momentum", 0)}).items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}: give 0 <= {name} < 1.")
        for name in ("eps", "weight_decay"):
            if not 0 <= group.get(name, 0.0) < math.inf:
                raise ValueError(f"{name} is {group[name]}: give 0 or more.")
