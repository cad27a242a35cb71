"""Where a message goes: rules that anybody can read."""

import re

from marketllm.marketing.service.words import digit_runs, plain

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
_RULES = {
    reason: re.compile(pattern, re.IGNORECASE) for reason, pattern in _REASONS.items()
}

_OWN = re.compile(
    r"\bwhere(?:'s| is| are| has)\b.*\bmy\b"
    r"|\b(?:when|what|how|has|have|did|is|was|will)\b.*\bmy (?:\w+ ){0,2}"
    r"(?:order|parcel|package|box|tea|kettle|teapot|coffee|refund)\b"
    r".*\b(?:arrived?|come|here|sent|shipped|paid|status|late|cost|on its way|left)\b"
    r"|\bstatus of my\b|\b(?:what|which|how much) (?:\w+ ){0,3}did i (?:order|buy|pay)"
    r"|\bwhat (?:have|had) i ordered\b|\bwhen (?:will|does|is) my\b|\bmy last order\b"
    r"|\bstill waiting for my\b|\bhave you (?:sent|shipped) my\b",
    re.IGNORECASE,
)


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
    found = (why for why, rule in _RULES.items() if rule.search(plain(message)))
    return next(found, None)


def asks_for_own(message: str) -> bool:
    """Say whether a message asks how one's own orders are getting on.

    Parameters
    ----------
    message : str
        From a customer.

    Returns
    -------
    bool
    """
    return _OWN.search(plain(message)) is not None


def order_numbers(text: str) -> set[str]:
    """Find what may be an order's number, however it is written.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    set of str
        In the form ``LM-204817``; with ``LM`` in front, of any length.
    """
    found = re.findall(r"\blm((?:\W*\d){1,6})", plain(text).lower())
    marked = (re.sub(r"\W", "", digits) for digits in found)
    runs = digit_runs(text, 6)  # two numbers side by side are one run
    bare = {run[i : i + 6] for run in runs for i in range(0, len(run) - 5, 6)}
    bare.update(re.findall(r"(?<!\d)\d{6}(?!\d)", plain(text)))
    return {f"LM-{digits}" for digits in bare.union(marked)}
