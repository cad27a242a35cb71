"""Which messages go to a person at once: rules that anybody can read."""

import re

from marketllm.marketing.service.words import plain

_PERSON = r"(?:human|person|people|agent|somebody|someone|representative|manager|staff)"
# The first that fits counts.
_REASONS = {
    "legal": r"\b(?:lawyer|solicitor|attorney|sue|suing|court|lawsuit|legal|police|"
    r"ombudsman|consumer (?:protection|rights)|data breach|liable|compensation)\b",
    "angry": r"\b(?:furious|outrage\w*|disgust\w*|scam\w*|rip-?off|ridiculous|"
    r"unacceptable|worst|fed up|sick of|liars?|thieves|useless|incompetent|shame)\b"
    r"|!!",
    "asked for": rf"\b(?:talk|speak|chat|connect|transfer|pass|put) .*\b{_PERSON}\b"
    rf"|\b(?:real|living|actual) {_PERSON}\b|\bcall me\b|\bnot a (?:bot|machine)\b"
    rf"|\b(?:want|need|give me|get me) an? {_PERSON}\b",
    "advice": r"\b(?:invest\w*|stocks?|shares|savings|loan|pension|mortgage|medicines?|"
    r"medication|pregnan\w*|diagnos\w*|doctor|disease|blood pressure|headaches?|"
    r"migraine|diabet\w*|cure)\b",
}
_REASONS = {
    reason: re.compile(pattern, re.IGNORECASE) for reason, pattern in _REASONS.items()
}


def handover_reason(message: str) -> str | None:
    """Say why a message should go to a person, if it should.

    Parameters
    ----------
    message : str
        From a customer.

    Returns
    -------
    str or None
        ``"legal"``, ``"angry"``, ``"asked for"`` (a person), ``"advice"`` (on money
        or health, which a shop must not give), or None.

    Raises
    ------
    ValueError
        If it is no text.
    """
    found = (why for why, rule in _REASONS.items() if rule.search(plain(message)))
    return next(found, None)
