"""Read the numbers that a card states, to be measured again."""

import re

NAMES = r"\d{4}-\d\d-\d\d|\b[A-Za-z]+[\w-]*\d\w*|\bGPL-3\b"  # dates, A1, GPL-3


def numbers(sentence):
    """Every number in a sentence, in order; "1,000" is 1000, "65.0%" is 65.0."""
    found = re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(NAMES, "", sentence))
    return [float(number.rstrip(",").replace(",", "")) for number in found]


def dates(sentence):
    """Every date in a sentence, in order."""
    return re.findall(r"\d{4}-\d\d-\d\d", sentence)


def all_numbers(card):
    """The numbers of each fault of a card."""
    return [numbers(fault) for fault in card.known_faults]
