"""Texts made plain, and the facts that stand in them."""

import re
import unicodedata
from collections.abc import Iterator

# Words that say nothing by themselves. No negation is among them, no number, and no
# yes: it turns whatever was asked into a promise.
LITTLE_WORDS = frozenset(
    """
    a about after all also although am an and any are as at be because been before
    being but by can could did do does during each either etc for from get gets got had
    has have he her here hers hi hello him his how i if in into is it its just let may
    me might must my of off on once one only or other our ours out over please shall
    she should so some such than thank thanks that the their theirs them then
    there these they this those through to too under until up upon us very was we were
    what when where which while who whom whose why will with would you your yours
    dear however therefore
    """.split()
)
NEGATIONS = frozenset("no not nor never none nobody nothing cannot without".split())
_MONTHS = (
    "january february march april may june july august september october november "
    "december"
).split()
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        "zero - two three four five six seven eight nine ten eleven twelve thirteen "
        "fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
    if word != "-"  # "one" is a pronoun more often than a number
} | {
    word: str(10 * tens)
    for tens, word in enumerate(
        "thirty forty fifty sixty seventy eighty ninety hundred".split(), 3
    )
}
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")


def plain(text: str) -> str:
    """Make a text plain: what looks like a letter or digit is one, tokens are words.

    Full-width and other digits become 0 to 9. Signs of no width and accents go.
    Angle brackets become round ones, so that no special token of a chat model is
    left, such as ``<|im_start|>``.

    Parameters
    ----------
    text : str
        From a customer, a record, a passage or a model.

    Returns
    -------
    str
        For a reader much the same.

    Raises
    ------
    ValueError
        If it is no text, or has half a character that UTF-8 cannot write.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"the text is of type {type(text).__name__}: give a str; bytes have to be "
            "decoded first, as UTF-8."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate at place {error.start}, which UTF-8 cannot "
            "write: read it again with the right encoding."
        ) from error
    spread = unicodedata.normalize("NFKD", text)
    kept = "".join(_plain_sign(sign) for sign in spread)
    return unicodedata.normalize("NFKC", kept)


def facts(text: str) -> set[str]:
    """Find what an answer must not invent: e-mails, dates, numbers and their units.

    Parameters
    ----------
    text : str
        Any text; it is made plain first. Numbers may be written as words.

    Returns
    -------
    set of str
        In lower case: each e-mail, each date, each number with the word behind it,
        and each number alone.
    """
    low = plain(text).lower()
    found = {email.rstrip(".") for email in _EMAIL.findall(low)}
    tokens = _tokens(_EMAIL.sub(" ", low))
    for i, token in enumerate(tokens):
        if not token[0].isdigit():
            continue
        found.add(token)
        before, behind = ((["", *tokens])[i], ([*tokens, ""])[i + 1])
        if behind in _MONTHS:
            year = ([*tokens, "", ""])[i + 2]
            found.add(" ".join([token, behind, *([year] if year.isdigit() else [])]))
        elif before in _MONTHS:
            if not (i > 1 and tokens[i - 2].isdigit()):
                found.add(f"{before} {token}")
        elif behind and not behind[0].isdigit() and behind not in LITTLE_WORDS:
            found.add(f"{token} {_stem(behind)}")
    return found


def digit_runs(text: str, shortest: int = 5) -> set[str]:
    """Find long numbers, even where their digits are kept apart.

    Signs, blanks and little words between digits do not count.

    Parameters
    ----------
    text : str
        Any text; it is made plain first.
    shortest : int
        Digits that make a long number.

    Returns
    -------
    set of str
        The runs of digits.
    """
    tokens = ("1" if t == "one" else t for t in _tokens(plain(text).lower()))
    kept = [t for t in tokens if t not in LITTLE_WORDS]
    joined = "".join(re.sub(r"\W", "", t) if t[0].isdigit() else " " for t in kept)
    return {run for run in joined.split() if len(run) >= shortest}


def stems(text: str) -> list[str]:
    """Find the words that say something, without their endings.

    Parameters
    ----------
    text : str
        Any text; it is made plain first.

    Returns
    -------
    list of str
        In the order of the text. Numbers, little words and negations are left out.
    """
    return [
        _stem(token)
        for token in _tokens(plain(text).lower())
        if not token[0].isdigit() and token not in LITTLE_WORDS | NEGATIONS
    ]


def denies(text: str) -> bool:
    """Say whether there is a negation in a text.

    Parameters
    ----------
    text : str
        Any text; it is made plain first.

    Returns
    -------
    bool
    """
    low = plain(text).lower()
    return "n't" in low or not NEGATIONS.isdisjoint(_tokens(low))


def _plain_sign(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind in ("Mn", "Me", "Cf"):
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(sign))
    if kind in ("Cc", "Zl", "Zp") and sign != "\n":
        return " "
    return {"<": "(", ">": ")", "\u2019": "'"}.get(sign, sign)


def _tokens(low: str) -> list[str]:
    """Cut lower-case text into words and numbers; words for numbers become digits."""
    low = re.sub(r"n't\b|'(?:s|re|ve|ll|d|m)\b", " ", low)
    low = low.replace("%", " per cent ").replace("\u20ac", " euros ")
    low = re.sub(r"\bpercent\b", "per cent", low)
    low = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", low)
    return [_NUMBERS.get(token, token) for token in _TOKEN.findall(low)]


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > 3 else word


def sentences(pieces: Iterator[str]) -> Iterator[str]:
    """Join pieces of text to whole sentences, each given as soon as it is complete.

    Parameters
    ----------
    pieces : iterator over str
        As a model writes them.

    Yields
    ------
    str
        Sentences with what stands behind them; joined they are the text.
    """
    held = ""
    for piece in pieces:
        held += piece
        *whole, held = re.split(r"(?<=[.!?])(?=\s)|(?<=\n)(?=\S)", held)
        yield from (part for part in whole if part)
    if held:
        yield held
