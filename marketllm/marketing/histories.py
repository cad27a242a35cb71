"""A customer as a sequence of tokens: attributes, dated events, words."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from marketllm.baselines.columns import _coder, _Names, _Numbers, _require_columns
from marketllm.tokenizer import WordTokenizer

NOT_READ = ("customer", "label")  # the number says nothing, the label everything
PAD, NO_EVENTS, NO_TEXT, UNKNOWN = "<pad>", "no events", "no text", "unknown word"
# A gap is told as people tell it: the first day of each step, and its name.
_STEPS = (
    [(days, f"{days} day{'s' * (days != 1)}") for days in range(7)]
    + [(7 * n, f"{n} week{'s' * (n > 1)}") for n in range(1, 9)]
    + [(round(n * 30.44), f"{n} months") for n in range(2, 12)]
    + [(365, "1 year"), (730, "2 years"), (1096, "3 years")]
)
_STARTS = np.array([days for days, _ in _STEPS])

Until = str | datetime.date | None


class HistoryTokenizer(BaseEstimator):  # type: ignore[misc]
    """Write a customer as token ids: who he is, what he did when, what he wrote.

    First one token for each attribute, such as ``age=31-40``. Then his events from
    the oldest to the newest: the time since the one before (``+2 weeks``), then one
    token for each column of the event (``visit``, ``amount=12-18``). Then the time
    from the last event until the day of the forecast (``quiet 3 months``), and at
    the end the words of his texts. What is missing is a token too. The columns
    ``customer`` and ``label`` never become tokens.

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
    counts midnights. A name, or a missing value, that the training rows did not
    have gets a token that no training saw: a network's vector for it is the random
    one it began with.
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
        texts = [name for name in self.text_columns if name in customers]
        wanted = () if tuple(self.text_columns) == ("text",) else self.text_columns
        _require_columns("customers", customers, wanted)
        names = [PAD, NO_EVENTS, NO_TEXT]

        def add(coder: _Numbers | _Names) -> tuple[int, _Numbers | _Names]:
            names.extend(coder.names)
            return len(names) - len(coder.names), coder

        attributes = [
            name for name in customers if name not in (*NOT_READ, *self.text_columns)
        ]
        coders = [_coder(name, customers[name], self.n_bins) for name in attributes]
        self.attributes_ = [add(coder) for coder in coders]
        self.events_ = None
        self.first_gap_ = len(names)
        if events is not None:
            names += [f"+{name}" for _, name in _STEPS]
            names += [f"quiet {name}" for _, name in _STEPS]
            own, _, _ = _own_events(customers, events, None, self.event_columns)
            if not len(own):
                raise ValueError(
                    f"none of the {len(events)} events is of one of the "
                    f"{len(customers)} customers: give the events of these customers."
                )
            columns = self.event_columns
            if columns is None:
                columns = [name for name in own if name not in ("customer", "date")]
            prefix = sum(not pd.api.types.is_numeric_dtype(own[c]) for c in columns) > 1
            event_coders = [_coder(c, own[c], self.n_bins, prefix) for c in columns]
            self.events_ = [add(coder) for coder in event_coders]
        self.texts_ = texts
        self.first_word_ = len(names)
        if texts:
            written = [text for name in texts for text in _texts(customers[name])]
            self.words_ = WordTokenizer.train(written, self.max_words + 2)
            names += [UNKNOWN, *self.words_.words[2:]]
        n_columns = self.gaps + len(self.events_ or ())
        self.names_ = names
        self.max_len_ = (
            len(attributes)
            + (self.max_events * n_columns + 1) * (events is not None)
            + self.max_words_per_text * len(texts)
        )
        if not self.max_len_:
            raise ValueError(
                f"the columns {list(customers)} hold nothing to read: give attributes, "
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
        columns = [coder.column for _, coder in self.attributes_]
        _require_columns("customers", customers, (*columns, *self.texts_))
        if (events is None) != (self.events_ is None):
            had, has = ("no events", "some") if events is not None else ("some", "none")
            raise ValueError(f"training had {had}, but now there are {has} in events.")
        found = np.empty((len(customers), len(columns)), dtype=int)
        for place, (first, coder) in enumerate(self.attributes_):
            found[:, place] = first + coder.codes(customers[coder.column])
        sequences: list[list[int]] = found.tolist()
        if events is not None:
            self._add_events(sequences, customers, events, until)
        for name in self.texts_:
            for sequence, text in zip(sequences, _texts(customers[name]), strict=True):
                ids = self.words_.encode(text)[: self.max_words_per_text]
                first = self.first_word_ - self.words_.unknown_id
                sequence += [first + i for i in ids] or [2]
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
        n_names, found = len(self), []
        for i in ids:
            if not 0 <= i < n_names:
                raise ValueError(
                    f"token id {i} is outside the vocabulary: ids run from 0 to "
                    f"{n_names - 1}."
                )
            found.append(self.names_[i])
        return found

    def _add_events(
        self,
        sequences: list[list[int]],
        customers: pd.DataFrame,
        events: pd.DataFrame,
        until: Until,
    ) -> None:
        """Put each customer's newest events behind his attributes."""
        columns = [coder.column for _, coder in self.events_ or ()]
        own, places, days = _own_events(customers, events, until, columns)
        gaps = np.diff(days, prepend=days[:1])
        gaps[np.flatnonzero(np.diff(places, prepend=-1))] = 0  # a customer's first
        parts = [self.first_gap_ + _step(gaps)] if self.gaps else []
        parts += [
            first + coder.codes(own[coder.column])
            for first, coder in self.events_ or ()
        ]
        width = len(parts)
        flat = np.stack(parts, axis=1).ravel().tolist() if width else []
        ends = np.searchsorted(places, np.arange(len(sequences)), side="right").tolist()
        quiet: list[int] = []
        if until is not None:
            last = np.datetime64(pd.Timestamp(until).date(), "D").astype(int)
            quiet = (self.first_gap_ + len(_STEPS) + _step(last - days)).tolist()
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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{name} is {value!r}: give a whole number of at least 1."
                )
        for name in ("event_columns", "text_columns"):
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f"{name} is one string, {getattr(self, name)!r}: give a list."
                )


def _own_events(
    customers: pd.DataFrame,
    events: pd.DataFrame,
    until: Until,
    columns: Sequence[str] | None,
) -> tuple[pd.DataFrame, Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """Sort the customers' events; also give each one's row of customers, and day."""
    _require_columns("customers", customers, ("customer",))
    _require_columns("events", events, ("customer", "date", *(columns or ())), 0)
    who = pd.Index(customers["customer"])
    if not who.is_unique:
        twice = who[who.duplicated()][0]
        rows = np.flatnonzero(who == twice)[:2].tolist()
        raise ValueError(
            f"customer {twice!r} stands in the rows {rows[0]} and {rows[1]} of "
            "customers: give one row a customer."
        )
    numbers = pd.api.types.is_numeric_dtype
    if len(events) and numbers(who) != numbers(events["customer"]):
        raise ValueError(
            f"customer has the type {who.dtype} in customers and "
            f"{events['customer'].dtype} in events: make both the same, for example "
            "with astype(str)."
        )
    if not pd.api.types.is_datetime64_dtype(events["date"]):
        raise ValueError(
            f"date has the type {events['date'].dtype}: give dates without a time "
            "zone; pandas.to_datetime makes them."
        )
    places = who.get_indexer(pd.Index(events["customer"]))
    own, places = events[places >= 0], places[places >= 0]
    dates = own["date"].to_numpy()
    if np.isnat(dates).any():
        name = own["customer"].to_numpy()[np.isnat(dates)][0]
        raise ValueError(
            f"{np.isnat(dates).sum()} events have no date, first one of customer "
            f"{name!r}: leave them out."
        )
    days = dates.astype("datetime64[D]")
    if until is not None:
        last = np.datetime64(pd.Timestamp(until).date(), "D")
        later = np.flatnonzero(days > last)
        if len(later):
            row = later[0]
            raise ValueError(
                f"{len(later)} events are later than until={last}, first one of "
                f"customer {own['customer'].iloc[row]!r} on {days[row]}: the day of "
                "the forecast does not know them; leave them out."
            )
    order = np.lexsort((dates, places))  # keeps the order of equal ones
    return own.iloc[order], places[order], days[order].astype(int)


def _step(days: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    return np.searchsorted(_STARTS, days, side="right") - 1


def _texts(values: "pd.Series[Any]") -> list[str]:
    """Give the texts, an empty one where there is none."""
    found = ["" if pd.isna(value) else value for value in values.tolist()]
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(
                f"column {values.name!r} is {text!r} in row {row}, of type "
                f"{type(text).__name__}: give texts of type str."
            )
    return found
