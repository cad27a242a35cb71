"""How well a model can do at most, where the chance of each label is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


@dataclass(frozen=True)
class Ceiling:
    r"""Hold the scores of the best possible rule, which knows every chance p.

    The best guess is class 1 where :math:`p_i \ge 1/2`, and the best order is that
    of p. So over customers i of N

    .. math::

        \text{accuracy} = \frac{1}{N} \sum_i \max(p_i, 1 - p_i)

        \text{AUC} = \frac
        {\sum_{i \ne j} p_i (1 - p_j) \left([p_i > p_j] + [p_i = p_j] / 2\right)}
        {\sum_{i \ne j} p_i (1 - p_j)}

    The first is the mean over all labels that might be drawn. The second divides the
    expected number of pairs in the right order by the expected number of pairs, and
    so is that mean to within about 1 / N.

    Attributes
    ----------
    accuracy, auc : float
        Expected, as above.
    realised_accuracy, realised_auc : float
        The same rule on the labels that were drawn. A model is to be compared with
        these: luck in the labels then strikes both. The AUC is NaN where all labels
        are equal.
    """

    accuracy: float
    auc: float
    realised_accuracy: float
    realised_auc: float

    def __str__(self) -> str:
        """Show the expected scores and, in brackets, the realised ones."""
        return (
            f"accuracy {self.accuracy:.3f} ({self.realised_accuracy:.3f} on the labels "
            f"drawn), AUC {self.auc:.3f} ({self.realised_auc:.3f})"
        )


def _ceiling(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Ceiling:
    """Compute the four numbers from the chance and the label of each customer."""
    best = (probabilities >= 0.5).astype(int)
    return Ceiling(
        accuracy=float(np.maximum(probabilities, 1 - probabilities).mean()),
        auc=_expected_auc(probabilities),
        realised_accuracy=float((best == labels).mean()),
        realised_auc=_realised_auc(probabilities, labels),
    )


def _expected_auc(p: NDArray[np.float64]) -> float:
    """Go through the values of p upwards: who stands below is in the right order."""
    values, place = np.unique(p, return_inverse=True)
    ones = np.bincount(place, weights=p, minlength=len(values))
    zeros = np.bincount(place, weights=1 - p, minlength=len(values))
    below = np.cumsum(zeros) - zeros
    with_itself = float(np.sum(p * (1 - p)))
    right = float(np.sum(ones * (below + zeros / 2))) - with_itself / 2
    return right / (float(ones.sum() * zeros.sum()) - with_itself)


def _realised_auc(p: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Give the AUC of ranking by p; `evaluation.auc`, which comes after this module."""
    n_ones = int(labels.sum())
    n_zeros = len(labels) - n_ones
    if min(n_ones, n_zeros) == 0:
        return float("nan")
    rank_sum = rankdata(p)[labels == 1].sum()
    return float((rank_sum - n_ones * (n_ones + 1) / 2) / (n_zeros * n_ones))
