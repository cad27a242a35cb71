"""Classify texts by asking a language model: no weight moves.

The prompt ends where the class would be named. Each class has a label word, and the
class whose word the model finds most likely there is chosen. Without examples this is
zero-shot; with a few labelled examples in the prompt, few-shot.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from marketllm.datasets import copy_key
from marketllm.models import Llama
from marketllm.prompting.likelihood import _read, _require_llama, _word_likelihood
from marketllm.prompting.prompt import _Prompt
from marketllm.tokenizer import BytePairTokenizer, ChatTemplate

TEMPLATE = "Review: {text}\nSentiment: {label}\n\n"
CONTENT_FREE = ("N/A", "[MASK]", "")


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Choose the class whose label word is most likely after the prompt.

    The instruction and the examples are read once, in `fit`. What the model remembers
    of them is copied for each batch of texts. A text never meets its own label: one
    that is among the examples is refused.

    Parameters
    ----------
    model : Llama
        The language model.
    tokenizer : BytePairTokenizer
        Its tokenizer.
    label_words : sequence of str
        What each class is called: the first word is class 0. Several tokens cost a
        reading of each text more.
    instruction : str
        Stands in front of everything; in a chat it is the system's message.
    template : str
        One example: ``{text}``, then ``{label}``, then what sets examples apart,
        which begins with a line break.
    calibrate : bool or sequence of str
        What is taken for the model's leaning towards some label words, whatever the
        text. True asks it about texts without content, as the paper does; a sequence
        asks it about these texts, such as unlabelled reviews; False does nothing.
    chat : ChatTemplate, optional
        Puts each text into a message and each label word into a reply.
    max_tokens : int
        Longer texts are cut to this number of tokens, in the examples too.
    batch_size : int
        Texts read side by side.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        0 to C - 1.
    log_prior_ : ndarray of shape (C,)
        What calibration takes off, in nats.

    References
    ----------
    Brown et al. (2020), section 2, for few-shot prompts; Zhao et al. (2021), section
    5, for content-free texts: their W p with W = diag(1 / p_cf), made to sum to 1.
    """

    def __init__(
        self,
        model: Llama,
        tokenizer: BytePairTokenizer,
        label_words: Sequence[str],
        instruction: str = "",
        template: str = TEMPLATE,
        calibrate: bool | Sequence[str] = True,
        chat: ChatTemplate | None = None,
        max_tokens: int = 96,
        batch_size: int = 8,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.label_words = label_words
        self.instruction = instruction
        self.template = template
        self.calibrate = calibrate
        self.chat = chat
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    def fit(
        self, texts: Collection[str], labels: Collection[Any]
    ) -> "PromptClassifier":
        """Read the instruction and the examples, in their order.

        Parameters
        ----------
        texts : collection of str
            The texts of the examples; none for zero-shot.
        labels : collection of int
            Their classes, 0 to C - 1.

        Returns
        -------
        PromptClassifier
            This classifier.

        Raises
        ------
        ValueError
            If a setting, a text or a label cannot be used, or the prompt is longer
            than the model's ``max_len``.
        """
        for name in ("max_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1.")
        _require_llama(self.model, self.tokenizer)
        form = (self.tokenizer, self.label_words, self.instruction, self.template)
        _Prompt(*form, self.chat)  # refuses these before it is asked about the texts
        rows = self._cut(texts)
        examples = list(zip(rows, self._named(labels, len(rows)), strict=True))
        self._prompt = _Prompt(*form, self.chat, examples)
        self.classes_ = np.arange(len(self.label_words))
        what = f"instruction and {len(rows)} examples"
        self._require_room(len(self._prompt.prefix) + 1, what)
        self._past = _read(self.model, self._prompt.prefix)
        self.log_prior_ = self._leaning()
        return self

    def prompt(self, text: str) -> str:
        """Write out what the model reads for a text, up to where the label comes.

        Parameters
        ----------
        text : str
            The text to classify.

        Returns
        -------
        str
            Instruction, examples and text.
        """
        (row,) = self._checked([text])
        return self._prompt.write(row)

    def log_likelihood(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give log p(label word | prompt) for each class.

        Neither calibrated nor normalised: the model could have gone on with any
        other word.

        Parameters
        ----------
        texts : collection of str
            The texts to classify.

        Returns
        -------
        ndarray of shape (N, C)
            In nats; for a word of several tokens their sum.

        Raises
        ------
        ValueError
            If a text is empty or among the examples, or its prompt is too long.
        """
        return self._score(self._checked(texts))

    def predict_log_proba(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give the logarithm of each class's probability, calibrated.

        Parameters
        ----------
        texts : collection of str
            The texts to classify.

        Returns
        -------
        ndarray of shape (N, C)
            In nats.
        """
        return _normalise(self.log_likelihood(texts) - self.log_prior_)

    def predict_proba(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give the probability of each class, calibrated.

        Parameters
        ----------
        texts : collection of str
            The texts to classify.

        Returns
        -------
        ndarray of shape (N, C)
            Rows sum to 1.
        """
        return np.exp(self.predict_log_proba(texts))

    def predict(self, texts: Collection[str]) -> Int[np.ndarray, " N"]:
        """Choose the most probable class.

        Parameters
        ----------
        texts : collection of str
            The texts to classify.

        Returns
        -------
        ndarray of shape (N,)
        """
        chosen = self.predict_log_proba(texts).argmax(axis=1)
        return self.classes_[chosen]

    def _named(self, labels: Collection[Any], n_texts: int) -> list[str]:
        if len(labels) != n_texts:
            raise ValueError(
                f"{n_texts} texts but {len(labels)} labels: give one for each text."
            )
        n_classes = len(self.label_words)
        unknown = [label for label in labels if label not in range(n_classes)]
        if unknown:
            raise ValueError(
                f"the label {unknown[0]!r} is unknown: there are {n_classes} label "
                f"words, so give numbers from 0 to {n_classes - 1}."
            )
        return [self.label_words[int(label)] for label in labels]

    def _cut(self, texts: Collection[str]) -> list[str]:
        """Put each text on one line, so that it cannot look like an example; cut it."""
        if isinstance(texts, str):
            raise ValueError("texts is one string: give a list of texts.")
        rows = []
        for i, text in enumerate(texts):
            row = " ".join(text.split())
            if not row:
                raise ValueError(f"text {i} of {len(texts)} is empty: leave it out.")
            ids = self.tokenizer.encode(row)
            if len(ids) > self.max_tokens:  # perhaps in the middle of a character
                row = self.tokenizer.decode(ids[: self.max_tokens]).rstrip("\ufffd")
            rows.append(row)
        return rows

    def _checked(self, texts: Collection[str]) -> list[str]:
        """Cut texts, and refuse those that stand in the prompt with their label."""
        check_is_fitted(self, "log_prior_")
        rows = self._cut(texts)
        known = {copy_key(text): i for i, (text, _) in enumerate(self._prompt.examples)}
        for i, row in enumerate(rows):
            if copy_key(row) in known:
                raise ValueError(
                    f"text {i} is example {known[copy_key(row)]} of the prompt, where "
                    f"its label stands: {row[:40]!r}. Leave it out, or fit with other "
                    "examples."
                )
        return rows

    def _leaning(self) -> Float[np.ndarray, " C"]:
        if self.calibrate is False:
            return np.zeros(len(self.classes_))
        if self.calibrate is True:
            rows = list(CONTENT_FREE)
        else:
            self.log_prior_ = np.zeros(len(self.classes_))
            rows = self._checked(self.calibrate)
        if not rows:
            raise ValueError("calibrate holds 0 texts: give some, or True or False.")
        return np.log(np.exp(_normalise(self._score(rows))).mean(axis=0))

    def _score(self, rows: list[str]) -> Float[np.ndarray, "N C"]:
        suffixes = [self._prompt.suffix(row) for row in rows]
        longest = max(map(len, self._prompt.words)) - 1
        for i, suffix in enumerate(suffixes):
            n_tokens = len(self._prompt.prefix) + len(suffix) + longest
            self._require_room(n_tokens, f"the prompt of text {i}")
        return _word_likelihood(
            self.model, self._past, suffixes, self._prompt.words, self.batch_size
        )

    def _require_room(self, n_tokens: int, what: str) -> None:
        max_len = self.model.config.max_len
        if n_tokens > max_len:
            raise ValueError(
                f"{what}: {n_tokens} tokens, but the model reads {max_len}: give fewer "
                f"examples, or cut the texts below {self.max_tokens} tokens."
            )


def _normalise(scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
