"""A piece of text that an answer may rest on, and can name as its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A short text with a name.

    Attributes
    ----------
    id : str
        Names it in an answer, such as ``returns-window``.
    text : str
        A few sentences.
    """

    id: str
    text: str
