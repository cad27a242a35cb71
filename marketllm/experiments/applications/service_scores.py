"""How questions, answers and refusals of the customer service are scored."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from marketllm.marketing.service import Passage
from marketllm.marketing.service.words import _tokens, plain, stems


def overlap(question: str, passage: str) -> float:
    """Give the share of the question's words that stand in the passage.

    Parameters
    ----------
    question, passage : str
        Texts.

    Returns
    -------
    float
        From 0 to 1; words that say nothing are left out, endings too.
    """
    asked = set(stems(question))
    return len(asked & set(stems(passage))) / len(asked) if asked else 0.0


def title_scores(question: str, passages: Sequence[Passage]) -> np.ndarray:
    """Count the words of each passage's id in the question: a list of questions.

    Parameters
    ----------
    question : str
        From a customer.
    passages : sequence of Passage
        The terms; an id such as ``returns-window`` is the title.

    Returns
    -------
    ndarray of shape (N,)
        Counts.
    """
    asked = set(stems(question))
    titles = [set(stems(passage.id)) for passage in passages]
    return np.array([float(len(asked & title)) for title in titles])


def holds(text: str, fact: str) -> bool:
    """Say whether a fact stands in a text, in digits or in words.

    Parameters
    ----------
    text, fact : str
        What is shown, and what it must hold.

    Returns
    -------
    bool
    """
    found, wanted = (" ".join(_tokens(plain(t).lower())) for t in (text, fact))
    return f" {wanted} " in f" {found} "


def find_threshold(
    levels: Sequence[float], answerable: Sequence[bool], right: Sequence[bool]
) -> float:
    """Choose from which confidence on to answer.

    A right answer brings 1, a wrong one costs 1, a refusal brings nothing, save where
    nothing answers the question: there it is right and brings 1.

    Parameters
    ----------
    levels : sequence of float
        Confidence of the search for each question.
    answerable : sequence of bool
        Whether anything answers it.
    right : sequence of bool
        Whether the first passage found does.

    Returns
    -------
    float
        Half-way between two levels that occur; of equals the lowest.
    """
    values, known = np.array(levels), np.unique(levels)
    answered = np.where(right, 1, -1)
    refused = np.where(answerable, 0, 1)
    tried = np.concatenate([[known[0] - 1], (known[1:] + known[:-1]) / 2])
    scores = [np.where(values >= t, answered, refused).mean() for t in tried]
    return float(tried[int(np.argmax(scores))])


def refusals(
    levels: Sequence[float], answerable: Sequence[bool], threshold: float
) -> dict[str, Any]:
    """Count refusals, and give their precision and recall.

    Parameters
    ----------
    levels, answerable : sequence
        As for `find_threshold`.
    threshold : float
        Below it a question is refused.

    Returns
    -------
    dict
        ``precision`` is the share of refusals that were right, ``recall`` the share
        of questions without an answer that were refused.
    """
    refused, none = np.array(levels) < threshold, ~np.array(answerable)
    both = int(np.sum(refused & none))
    return {
        "n_refused": int(refused.sum()),
        "n_unanswerable": int(none.sum()),
        "precision": round(both / max(int(refused.sum()), 1), 4),
        "recall": round(both / max(int(none.sum()), 1), 4),
    }
