"""A customer as a sequence of tokens: attributes, dated events, words."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from marketllm.baselines.columns import _coder, _require_columns, _texts
from marketllm.config import _require_positive
from marketllm.marketing.dates import STEPS, Until, _last_day, _own_events, _step
from marketllm.tokenizer import WordTokenizer

NOT_READ = ("customer", "label")  # the number says nothing, the label everything
PAD, NO_EVENTS, NO_TEXT, UNKNOWN = "<pad>", "no events", "no text", "unknown word"


class HistoryTokenizer(BaseEstimator):  # type: ignore[misc]
    """Write a customer as token ids: who he is, what he did when, what he wrote.

    First one token for each attribute, such as ``age=31-40``. Then his events from
    the oldest to the newest: the time since the one before (``+2 weeks``), then one
    token for each column of the event (``visit``, ``amount=12-18``). Then the time
    since the last one (``quiet 3 months``), and at the end the words of his texts.
    What is missing is a token too; ``customer`` and ``label`` never become tokens.

    Parameters
    ----------
    n_bins : int
        Numbers are cut into at most this many bins, at quantiles of the training
        rows. A column of numbers that are names in truth, such as a postcode, has
        to be turned into text before.
    event_columns : sequence of str, optional
        The columns of an event that become tokens, in this order. Default is all
        but ``customer`` and ``date``.
    gaps : bool
        Whether the time between two events is told.
    text_columns : sequence of str
        The columns of the customers that are cut into words. A frame without the
        default column ``text`` has no words.
    max_words : int
        Different words kept, the most frequent ones of the training rows.
    max_events : int
        Only this many of a customer's newest events are kept.
    max_words_per_text : int
        Later words of a text are cut off.

    Attributes
    ----------
    names_ : list of str
        What each token id stands for; id 0 is padding.
    max_len_ : int
        Tokens that a customer can have at most.

    Notes
    -----
    Events of one customer at the same time keep the order of their rows. A gap
    counts midnights. A new name, or the first missing value, gets a token that no
    training row had: a network's vector for it is the random one it began with.
    """

    def __init__(
        self,
        n_bins: int = 8,
        event_columns: Sequence[str] | None = None,
        gaps: bool = True,
        text_columns: Sequence[str] = ("text",),
        max_words: int = 1000,
        max_events: int = 64,
        max_words_per_text: int = 32,
    ) -> None:
        self.n_bins = n_bins
        self.event_columns = event_columns
        self.gaps = gaps
        self.text_columns = text_columns
        self.max_words = max_words
        self.max_events = max_events
        self.max_words_per_text = max_words_per_text

    def __len__(self) -> int:
        """Count the token ids, padding included."""
        check_is_fitted(self, "names_")
        return len(self.names_)

    def fit(
        self, customers: pd.DataFrame, events: pd.DataFrame | None = None
    ) -> "HistoryTokenizer":
        """Learn bins, names and words from the training rows.

        Parameters
        ----------
        customers : pandas.DataFrame
            The training rows, one a customer, and no others.
        events : pandas.DataFrame, optional
            Columns ``customer``, ``date`` and what happened. Events of customers
            who are not in the first frame are not looked at.

        Returns
        -------
        HistoryTokenizer
            This tokenizer.

        Raises
        ------
        ValueError
            If a setting is impossible, a frame has no rows or a column twice, a
            column is missing or of no use, or no event belongs to a customer.
        """
        self._check_settings()
        optional = tuple(self.text_columns) == ("text",)
        _require_columns("customers", customers, () if optional else self.text_columns)
        texts = [name for name in self.text_columns if name in customers]
        names = [PAD, NO_EVENTS, NO_TEXT]

        def add(coder: Any) -> tuple[int, Any]:
            names.extend(coder.names)
            return len(names) - len(coder.names), coder

        attributes = customers.columns.drop([*NOT_READ, *texts], errors="ignore")
        n_bins = self.n_bins
        self.attributes_ = [add(_coder(c, customers[c], n_bins)) for c in attributes]
        self.events_ = None
        self.first_gap_ = len(names)
        if events is not None:
            names += [f"+{name}" for _, name in STEPS]
            names += [f"quiet {name}" for _, name in STEPS]
            own, _, _ = _own_events(customers, events, None, self.event_columns)
            if not len(own):
                raise ValueError(
                    f"{len(customers)} customers have none of the {len(events)} "
                    "events: give theirs."
                )
            others = own.columns.drop([*NOT_READ, "date"], errors="ignore")
            columns = list(others if self.event_columns is None else self.event_columns)
            if not columns:
                raise ValueError(
                    f"events have only the columns {list(own)}: add one that says what "
                    "happened, such as kind = 'purchase'."
                )
            prefix = sum(not pd.api.types.is_numeric_dtype(own[c]) for c in columns) > 1
            self.events_ = [add(_coder(c, own[c], n_bins, prefix)) for c in columns]
        self.texts_ = texts
        self.first_word_ = len(names)
        if texts:
            written = [text for name in texts for text in _texts(customers[name])]
            self.words_ = WordTokenizer.train(written, self.max_words + 2)
            names += [UNKNOWN, *self.words_.words[2:]]
        self.names_ = names
        self.max_len_ = len(attributes) + self.max_words_per_text * len(texts)
        if self.events_:
            self.max_len_ += self.max_events * (self.gaps + len(self.events_)) + 1
        if not self.max_len_:
            raise ValueError(
                f"the columns {list(customers)} leave nothing to read: add attributes, "
                "texts or events."
            )
        return self

    def transform(
        self,
        customers: pd.DataFrame,
        events: pd.DataFrame | None = None,
        until: Until = None,
    ) -> list[list[int]]:
        """Write each customer as token ids.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer, with the columns of the training rows.
        events : pandas.DataFrame, optional
            Their events; there if there were some in training. Those of customers
            who are not in the first frame are not looked at. A customer without
            any has the token ``no events``.
        until : str or datetime.date, optional
            The day of the forecast, the last one that is known.

        Returns
        -------
        list of list of int
            In the order of the rows of ``customers``; nobody has an empty list.

        Raises
        ------
        ValueError
            If the frames are not as in training, a customer is there twice, or an
            event of theirs has no date or is later than ``until``.
        """
        check_is_fitted(self, "names_")
        wanted = [coder.column for _, coder in self.attributes_]
        _require_columns("customers", customers, wanted + self.texts_)
        if (events is None) != (self.events_ is None):
            had = "none" if self.events_ is None else "some"
            raise ValueError(f"events is {type(events)}, but training had {had}.")
        found = np.empty((len(customers), len(wanted)), dtype=int)
        for place, (first, coder) in enumerate(self.attributes_):
            found[:, place] = first + coder.codes(customers[coder.column])
        sequences: list[list[int]] = found.tolist()
        if events is not None:
            self._add_events(sequences, customers, events, until)
        for name in self.texts_:
            for sequence, text in zip(sequences, _texts(customers[name]), strict=True):
                ids = self.words_.encode(text)[: self.max_words_per_text]
                sequence += [self.first_word_ - 1 + i for i in ids] or [2]
        return sequences

    def words(self, ids: Iterable[int]) -> list[str]:
        """Say what tokens stand for.

        Parameters
        ----------
        ids : iterable of int
            Token ids.

        Returns
        -------
        list of str
            One readable name for each id.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        found, known = list(ids), range(len(self))
        wrong = [i for i in found if i not in known]
        if wrong:
            raise ValueError(
                f"token id {wrong[0]} is outside the vocabulary: ids run from 0 to "
                f"{len(known) - 1}."
            )
        return [self.names_[i] for i in found]

    def _add_events(
        self,
        sequences: list[list[int]],
        customers: pd.DataFrame,
        events: pd.DataFrame,
        until: Until,
    ) -> None:
        """Put each customer's newest events behind his attributes."""
        coders = self.events_ or []
        wanted = [coder.column for _, coder in coders]
        own, places, days = _own_events(customers, events, until, wanted)
        gaps = np.diff(days, prepend=days[:1])
        gaps[np.flatnonzero(np.diff(places, prepend=-1))] = 0  # a customer's first
        parts = [self.first_gap_ + _step(gaps)] if self.gaps else []
        parts += [first + coder.codes(own[coder.column]) for first, coder in coders]
        width = len(parts)
        flat = np.stack(parts, axis=1).ravel().tolist()
        ends = np.searchsorted(places, np.arange(len(sequences)), side="right").tolist()
        quiet: list[int] = []
        if until is not None:
            since = _last_day(until).astype(int) - days
            quiet = (self.first_gap_ + len(STEPS) + _step(since)).tolist()
        start = 0
        for sequence, end in zip(sequences, ends, strict=True):
            if start == end:
                sequence.append(1)
                continue
            kept = max(start, end - self.max_events)
            skip = int(self.gaps and kept == start)  # before the first there is no gap
            sequence += flat[kept * width + skip : end * width]
            if quiet:
                sequence.append(quiet[end - 1])
            start = end

    def _check_settings(self) -> None:
        for name in ("n_bins", "max_words", "max_events", "max_words_per_text"):
            _require_positive(name, getattr(self, name))
        for name in ("event_columns", "text_columns"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} is one str, {value!r}: give a list.")
            if {*NOT_READ, "date"} & {*(value or ())}:
                raise ValueError(f"{name} are {value}: leave customer, label and date.")
