"""Keys and values of the past, so that a text is not read again for each new token."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from marketllm.config import LlamaConfig


class LayerCache:
    """Keys and values of one layer, in a block of memory taken at the start.

    Parameters
    ----------
    keys, values : Tensor of shape (B, G, S, E)
        Room for S tokens; what it holds at first does not matter.
    """

    def __init__(
        self, keys: Float[Tensor, "B G S E"], values: Float[Tensor, "B G S E"]
    ) -> None:
        self.keys, self.values = keys, values
        self.length = 0

    def append(
        self, key: Float[Tensor, "B G T E"], value: Float[Tensor, "B G T E"]
    ) -> tuple[Float[Tensor, "B G S E"], Float[Tensor, "B G S E"]]:
        """Put new keys and values behind the old ones.

        Parameters
        ----------
        key, value : Tensor of shape (B, G, T, E)
            Those of the T tokens that were read now.

        Returns
        -------
        tuple of Tensor of shape (B, G, S, E)
            Keys and values of all S tokens so far.

        Raises
        ------
        ValueError
            If they do not fit: the cache is full, or of another batch.
        """
        self.require_room(len(key), key.shape[2])
        end = self.length + key.shape[2]
        self.keys[:, :, self.length : end] = key
        self.values[:, :, self.length : end] = value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def require_room(self, batch_size: int, n_tokens: int) -> None:
        """Refuse what does not fit.

        Parameters
        ----------
        batch_size, n_tokens : int
            Texts and tokens about to come.

        Raises
        ------
        ValueError
            If the cache is full, or of another batch.
        """
        n_room = self.keys.shape[2]
        if self.length + n_tokens > n_room:
            raise ValueError(
                f"the cache has room for {n_room} tokens and holds {self.length}; "
                f"{n_tokens} more do not fit: make it with a larger max_len, or fork "
                "it into a larger one."
            )
        if batch_size != len(self.keys):
            raise ValueError(
                f"the batch has {batch_size} texts, but the cache was made for "
                f"{len(self.keys)}: make one for each batch, or fork it."
            )


class KeyValueCache:
    """What a Llama remembers of the tokens it has read: one part for each layer.

    The keys are kept as they were turned by their places. So a token's place is its
    column, padding included: only distances count, and padding on the left moves
    all tokens of a text by the same.

    Parameters
    ----------
    config : LlamaConfig
        Sizes of the model.
    batch_size : int
        Texts read side by side, B.
    max_len : int
        Room in tokens, S.
    dtype : torch.dtype, optional
        Number type of the model. None is torch's default.

    Attributes
    ----------
    layers : list of LayerCache
        One for each block of the model.
    real : Tensor of bool of shape (B, S) or None
        False where padding was read; None where there was none.

    Raises
    ------
    ValueError
        If there is no room for a single token or text.
    """

    def __init__(
        self,
        config: LlamaConfig,
        batch_size: int,
        max_len: int,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, size in (("batch_size", batch_size), ("max_len", max_len)):
            if size < 1:
                raise ValueError(f"{name} is {size}: give at least 1.")
        self.config = config
        self.batch_size, self.max_len = batch_size, max_len
        width = config.d_model // config.n_heads
        shape = (batch_size, config.n_kv_heads, max_len, width)
        self.layers = [
            LayerCache(torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype))
            for _ in range(config.n_layers)
        ]
        self.real: Bool[Tensor, "B S"] | None = None

    @property
    def length(self) -> int:
        """Tokens read so far, padding included."""
        return self.layers[-1].length

    @property
    def dtype(self) -> torch.dtype:
        """Number type of what it keeps."""
        return self.layers[0].keys.dtype

    @property
    def n_bytes(self) -> int:
        """Memory that the cache takes, in bytes."""
        return sum(2 * layer.keys.nbytes for layer in self.layers)

    def fork(self, batch_size: int, max_len: int) -> "KeyValueCache":
        """Copy what was read into a new cache, so that several texts can follow it.

        Parameters
        ----------
        batch_size : int
            Texts of the new cache. One that was read is repeated for all.
        max_len : int
            Room in tokens of the new cache, what was read included.

        Returns
        -------
        KeyValueCache
            Changes to one leave the other as it is.

        Raises
        ------
        ValueError
            If the texts are neither one nor as many as before, or there is no room
            for what was read.
        """
        if self.batch_size not in (1, batch_size):
            raise ValueError(
                f"the cache holds {self.batch_size} texts and cannot be copied for "
                f"{batch_size}: fork one of 1 text, or ask for {self.batch_size}."
            )
        if max_len < self.length:
            raise ValueError(
                f"max_len is {max_len}, but the cache holds {self.length} tokens: "
                "give at least as many."
            )
        copy = KeyValueCache(self.config, batch_size, max_len, self.dtype)
        for old, new in zip(self.layers, copy.layers, strict=True):
            new.keys[:, :, : old.length] = old.keys[:, :, : old.length]
            new.values[:, :, : old.length] = old.values[:, :, : old.length]
            new.length = old.length
        if self.real is not None:
            copy.real = self.real.expand(batch_size, -1).clone()
        return copy

    def extend(
        self, real: Bool[Tensor, "B T"] | None, batch_size: int, n_tokens: int
    ) -> Bool[Tensor, "B S"] | None:
        """Check the room for new tokens, and note which of them are padding.

        Parameters
        ----------
        real : Tensor of bool of shape (B, T) or None
            False for padding; None where there is none.
        batch_size, n_tokens : int
            Shape of the ids about to be read, B and T.

        Returns
        -------
        Tensor of bool of shape (B, S) or None
            The same for all tokens, old and new; None if none is padding.

        Raises
        ------
        ValueError
            If the cache is full, or of another batch. It then stays as it was.
        """
        self.layers[0].require_room(batch_size, n_tokens)
        if real is None and self.real is None:
            return None
        old, new = self.real, real
        if old is None:
            old = torch.ones(batch_size, self.length, dtype=torch.bool)
        if new is None:
            new = torch.ones(batch_size, n_tokens, dtype=torch.bool)
        self.real = torch.cat([old, new], dim=1)
        return self.real
