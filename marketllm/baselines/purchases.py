"""Recency, frequency and money, and the model that forecasts from them."""

import contextlib
import datetime
import io
import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

DAY = np.timedelta64(1, "D")


def rfm(events: pd.DataFrame, until: str | datetime.date) -> pd.DataFrame:
    """Sum each customer up by recency, frequency and money.

    Parameters
    ----------
    events : pandas.DataFrame
        Columns ``customer``, ``date`` and, if money was spent, ``amount``: one row
        for each purchase, none later than ``until``.
    until : str or datetime.date
        The last day that is known.

    Returns
    -------
    pandas.DataFrame
        One row for each customer who has an event, in the order of their names,
        which are the index. ``recency_days``: days from the last purchase to
        ``until``. ``age_days``: days from the first purchase to ``until``.
        ``n_purchases``: different days with a purchase; two on one day are one.
        And, where there is a column ``amount``, the sum over all rows in ``amount``
        and the sum divided by ``n_purchases`` in ``mean_amount``; a row without an
        amount adds nothing.

    Raises
    ------
    ValueError
        If there are no events, a column or a date is missing, or an event is later
        than ``until``.

    Notes
    -----
    Fader, Hardie and Lee (2005) measure the same from the first purchase on. Their
    frequency x is ``n_purchases - 1``, the days with a repeat purchase; their
    recency t_x is ``age_days - recency_days``, from the first purchase to the last;
    their T is ``age_days``.
    """
    for name in ("customer", "date"):
        if name not in events:
            raise ValueError(f"events have no column {name!r}, only {list(events)}.")
    if not len(events) or events[["customer", "date"]].isna().any(axis=None):
        raise ValueError(
            f"{len(events)} events, of which "
            f"{events[['customer', 'date']].isna().any(axis=1).sum()} have no customer "
            "or no date: give at least 1, and both for each."
        )
    if not pd.api.types.is_datetime64_dtype(events["date"]):
        raise ValueError(
            f"date has the type {events['date'].dtype}: give dates without a time "
            "zone; pandas.to_datetime makes them."
        )
    days = events["date"].dt.normalize()
    last = pd.Timestamp(until).normalize()
    if days.max() > last:
        raise ValueError(
            f"{(days > last).sum()} events are later than until={last.date()}, the "
            f"last one on {days.max().date()}: that day does not know them; leave "
            "them out."
        )
    groups = days.groupby(events["customer"].to_numpy())
    table = pd.DataFrame(
        {
            "recency_days": (last - groups.max()) // DAY,
            "age_days": (last - groups.min()) // DAY,
            "n_purchases": groups.nunique(),
        }
    )
    if "amount" in events:
        amounts = events["amount"].groupby(events["customer"].to_numpy())
        table["amount"] = amounts.sum()
        table["mean_amount"] = table["amount"] / table["n_purchases"]
    return table.rename_axis("customer")


class BGNBD:
    """Forecast purchases with the BG/NBD model, the standard for repeat buyers.

    Each customer buys at a rate of his own, at random times, and after each purchase
    he may leave for good without a word. Rates and chances of leaving differ between
    customers: gamma and beta distributed. Four numbers describe all customers. Nobody
    looks at who bought later: it needs no labels.

    The fit is the library lifetimes', which comes with ``marketllm[data]``.

    Attributes
    ----------
    parameters_ : dict of str to float
        ``r``, ``alpha`` (in days), ``a`` and ``b``; there after `fit`.

    References
    ----------
    Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing
    Science 24(2), equations 6 and 10. Fader, Hardie and Lee (2008), Computing P(alive)
    Using the BG/NBD Model, note 21 at brucehardie.com, for `p_alive`.
    """

    def fit(self, rfm: pd.DataFrame) -> "BGNBD":
        """Find the four numbers under which these purchases are most likely.

        Parameters
        ----------
        rfm : pandas.DataFrame
            What `rfm` gives.

        Returns
        -------
        BGNBD
            This model.

        Raises
        ------
        ModuleNotFoundError
            If lifetimes is not installed.
        ValueError
            If the table has no rows, nobody bought twice, or the customers are too few
            to settle the four numbers.
        """
        repeats, last, age = _as_published(rfm)
        n_repeated = int((repeats > 0).sum())
        if not n_repeated:
            raise ValueError(
                f"none of the {len(rfm)} customers bought on 2 days: there is no rate "
                "to learn from."
            )
        try:
            from lifetimes import BetaGeoFitter
            from lifetimes.utils import ConvergenceError
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'BGNBD needs lifetimes: pip install "marketllm[data]"'
            ) from error
        with (
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
            contextlib.redirect_stdout(io.StringIO()),  # it prints before it raises
        ):
            try:
                self._model = BetaGeoFitter().fit(repeats, last, age)
            except ConvergenceError as error:
                raise ValueError(
                    f"{len(rfm)} customers, of whom {n_repeated} bought on 2 days or "
                    "more, do not settle the four numbers: give some hundreds."
                ) from error
        self.parameters_ = {
            str(name): float(value) for name, value in self._model.params_.items()
        }
        return self

    def expected_purchases(
        self, rfm: pd.DataFrame, days: int | float
    ) -> Float[np.ndarray, " N"]:
        """Say on how many days each customer is expected to buy.

        Rank customers by this.

        Parameters
        ----------
        rfm : pandas.DataFrame
            What `rfm` gives.
        days : int or float
            How far to look ahead, from ``until`` on.

        Returns
        -------
        ndarray of shape (N,)
            Expected purchases, in the order of the rows.

        Raises
        ------
        ValueError
            If the model is not fitted, ``days`` not positive, or the formula breaks
            down at the numbers fitted, as it does after a fit on few customers.
        """
        if not days > 0:
            raise ValueError(f"days is {days}: give a number above 0.")
        model = self._fitted()
        with np.errstate(all="ignore"):
            expected = np.asarray(
                model.conditional_expected_number_of_purchases_up_to_time(
                    days, *_as_published(rfm)
                )
            )
        lost = int((~np.isfinite(expected)).sum())
        if lost:
            raise ValueError(
                f"no expectation for {lost} of {len(rfm)} customers: the formula "
                f"breaks down at {self.parameters_}. Fit on some hundreds of customers."
            )
        return expected

    def p_alive(self, rfm: pd.DataFrame) -> Float[np.ndarray, " N"]:
        """Say how likely it is that each customer has not left for good.

        Do not rank by this: one who bought once and never again cannot have left
        after a repeat purchase, so he counts as alive for certain.

        Parameters
        ----------
        rfm : pandas.DataFrame
            What `rfm` gives.

        Returns
        -------
        ndarray of shape (N,)
            Probabilities, in the order of the rows.

        Raises
        ------
        ValueError
            If the model is not fitted.
        """
        model = self._fitted()
        with np.errstate(all="ignore"):
            return np.asarray(model.conditional_probability_alive(*_as_published(rfm)))

    def _fitted(self) -> Any:
        if not hasattr(self, "_model"):
            raise ValueError("BGNBD is not fitted: call fit first.")
        return self._model


def _as_published(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give x, t_x and T of the paper."""
    for name in ("n_purchases", "age_days", "recency_days"):
        if name not in table:
            raise ValueError(
                f"the table has no column {name!r}, only {list(table)}: rfm() makes it."
            )
    if not len(table):
        raise ValueError("the table has 0 rows: give at least 1 customer.")
    age = table["age_days"].to_numpy(dtype=float)
    repeats = table["n_purchases"].to_numpy(dtype=int) - 1
    return repeats, age - table["recency_days"].to_numpy(dtype=float), age
