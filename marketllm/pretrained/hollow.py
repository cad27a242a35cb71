"""Models without numbers, to be filled with the weights of a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from marketllm.pretrained.sources import _AGAIN, _refuse

_Model = TypeVar("_Model", bound=nn.Module)


class _Unfilled(TorchFunctionMode):
    """Leave out what ``torch.nn.init`` does."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _hollow(make: Callable[[], _Model], file: Path) -> _Model:
    """Make a model whose tensors have a shape, and neither memory nor numbers.

    Drawing random numbers for 135 million weights that are then replaced takes
    seconds. PyTorch's meta device alone also saves them, but draws by way of its
    compiler, which takes a second to import.
    """
    try:
        with torch.device("meta"), _Unfilled():
            return make()
    except RuntimeError:  # the product of two sizes is beyond any count of bytes
        _refuse(file, "asks for sizes that no memory can hold", _AGAIN)
