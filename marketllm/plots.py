"""The only module that draws."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

Numbers = Any  # a Tensor, an array or nested lists
PALETTE = sns.color_palette("colorblind")


def set_style() -> None:
    """Set the look of every figure: colour-blind palette, sizes for a phone."""
    sns.set_theme(style="white", palette=PALETTE)
    mpl.rcParams.update(
        {
            "figure.figsize": (5.4, 3.2),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.labelsize": 11,
            "axes.titlesize": 12,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "legend.frameon": False,
            "lines.linewidth": 2,
        }
    )


def heat_map(
    values: Numbers,
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None = None,
    row_label: str = "query",
    column_label: str = "key",
    digits: int | None = 2,
    limits: tuple[float, float] | None = (0.0, 1.0),
) -> Axes:
    """Draw a table of numbers as colours, with the numbers in the cells.

    Parameters
    ----------
    values : array of shape (R, C)
        What to draw: attention weights, for example.
    rows, columns : sequence of str
        Names of the R rows and the C columns.
    ax : Axes, optional
        Where to draw; default is the current axes.
    row_label, column_label : str
        Names of the two axes.
    digits : int, optional
        Digits behind the point in each cell; None leaves the numbers out.
    limits : tuple of float, optional
        Values of the lightest and the darkest colour; None takes a scale that
        is white at 0, for values of both signs.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the names do not fit the values.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach()
    table = np.asarray(values, dtype=float)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(
            f"values have shape {table.shape}, but there are {len(rows)} row names "
            f"and {len(columns)} column names: give one name for each."
        )
    bound = float(np.abs(table).max())
    low, high = (-bound, bound) if limits is None else limits
    ax = sns.heatmap(
        table,
        ax=ax,
        vmin=low,
        vmax=high,
        cmap="vlag" if limits is None else "Blues",
        annot=digits is not None,
        fmt=f".{digits or 0}f",
        annot_kws={"size": 10},
        square=True,
        linewidths=1,
        cbar=False,
        xticklabels=list(columns),
        yticklabels=list(rows),
    )
    ax.set(xlabel=column_label, ylabel=row_label)
    ax.tick_params(axis="y", rotation=0)
    if max(map(len, columns)) > 3:
        plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return ax


def intervals(
    names: Sequence[str],
    estimates: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    ax: Axes | None = None,
    label: str = "",
) -> Axes:
    """Draw one estimate with its interval a line, the first on top.

    Parameters
    ----------
    names : sequence of str
        What is compared.
    estimates, lows, highs : sequence of float
        The estimates and the ends of their intervals.
    ax : Axes, optional
        Where to draw; default is the current axes.
    label : str
        What is measured, with its unit.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the sequences differ in length or an estimate lies outside its interval.
    """
    middle, low, high = (np.asarray(v, dtype=float) for v in (estimates, lows, highs))
    if not len(names) == len(middle) == len(low) == len(high):
        raise ValueError(
            f"{len(names)} names, {len(middle)} estimates, {len(low)} lows and "
            f"{len(high)} highs: give as many of each."
        )
    for name, a, b, c in zip(names, low, middle, high, strict=True):
        if not a <= b <= c:
            raise ValueError(
                f"{name}: the estimate {b} lies outside its interval {a} to {c}."
            )
    ax = plt.gca() if ax is None else ax
    places = np.arange(len(names))
    ax.errorbar(middle, places, xerr=[middle - low, high - middle], fmt="o", capsize=4)
    ax.set_yticks(places, list(names))
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.4)
    ax.set_xlabel(label)
    return ax


def shares(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    counts: Sequence[int],
    ax: Axes | None = None,
    label: str = "",
) -> Axes:
    """Draw one share with its interval a line, and how many cases are behind it.

    Parameters
    ----------
    names : sequence of str
        What the shares are of, the first on top.
    values, lows, highs : sequence of float
        The shares, 0 to 1, and the ends of their intervals. Where all three are NaN
        the line says *too few* instead.
    counts : sequence of int
        Cases behind each share.
    ax : Axes, optional
        Where to draw; default is the current axes.
    label : str
        What is measured.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the sequences differ in length, or a share or an end lies outside 0 to 1, or
        a share outside its interval.
    """
    table = np.array([values, lows, highs], dtype=float)
    known = ~np.isnan(table).any(axis=0)
    _check_shares(names, table, known, len(counts))
    shown = [f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
    middle, low, high = np.where(known, table, 0.0)
    places = np.arange(len(names))
    ax = plt.gca() if ax is None else ax
    ax.barh(places[known], middle[known], 0.55, color=PALETTE[0], alpha=0.35)
    bars = [(middle - low)[known], (high - middle)[known]]
    ax.errorbar(middle[known], places[known], xerr=bars, fmt="o", capsize=4)
    for place in places[~known]:
        ax.text(0.02, place, "too few to tell", va="center", color="0.4", fontsize=10)
    ax.set_yticks(places, shown)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(axis="x", alpha=0.4)
    ax.set_xlabel(label)
    return ax


def _check_shares(
    names: Sequence[str], table: np.ndarray, known: np.ndarray, n_counts: int
) -> None:
    if table.shape[1:] != (len(names),) or n_counts != len(names):
        raise ValueError(
            f"{len(names)} names, {table.shape[1]} shares and {n_counts} counts: give "
            "as many of each."
        )
    for name, (middle, low, high), is_known in zip(names, table.T, known, strict=True):
        if is_known and not 0 <= low <= middle <= high <= 1:
            raise ValueError(
                f"{name}: the share {middle} with its interval {low} to {high} is out "
                "of order, or outside 0 to 1."
            )
        if not is_known and not np.isnan([middle, low, high]).all():
            raise ValueError(
                f"{name}: only some of share, low and high are missing; give all three "
                "or none."
            )
