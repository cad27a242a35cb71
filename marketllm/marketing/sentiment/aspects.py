"""What a clause is about: keywords for each aspect, in English and in Chinese."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from marketllm.marketing.sentiment.texts import _check_text


@dataclass(frozen=True)
class Aspect:
    """Keywords that name an aspect of a purchase.

    Attributes
    ----------
    words : str
        A regular expression; capitals do not matter.
    unless : str
        Phrases that hold such a word and mean something else: a word inside one of
        them does not count.
    """

    words: str
    unless: str = "(?!)"  # nothing

    def found_in(self, text: str) -> bool:
        """Tell whether a text names the aspect.

        Parameters
        ----------
        text : str
            A text or a part of it.

        Returns
        -------
        bool
        """
        left = re.sub(self.unless, " ", text, flags=re.IGNORECASE)
        return re.search(self.words, left, re.IGNORECASE) is not None


ASPECTS: Mapping[str, Aspect] = {
    "taste": Aspect(
        r"\btast(?:e|es|ed|ing|y|ier|iest|eless)\b|\bflavou?r(?:s|ed|ful|less|ings?)?\b"
        r"|\b(?:delicious|yummy|bland|stale|bitter|aftertaste|aromas?)\b"
        r"|味道|口感|口味|[好难](?:吃|喝)",
        r"\bin (?:good|bad|poor) taste\b|\bbitter (?:end|experience)\b",
    ),
    "delivery": Aspect(
        r"\bdeliver(?:y|ies|s|ed|ing)?\b|\bshipp(?:ed|ing)\b|\bshipments?\b"
        r"|\barriv(?:e|es|ed|al|ing)\b|\bcouriers?\b|\bon time\b"
        r"|物流|快递|配送|送货|发货|到货",
        r"\bdeliver(?:s|ed|ing)? on (?:its|their|the|that|every) (?:promise|claim)s?\b"
        r"|\barriv(?:e|es|ed|ing) at (?:a|the) conclusion\b",
    ),
    "price": Aspect(
        r"\b(?:over)?pric(?:e|es|ed|ey|y|ing)\b|\bcost(?:s|ing|ly)?\b|\bexpensive\b"
        r"|\bcheap(?:er|est)?\b|\baffordable\b|\bbargains?\b|\bmoney\b"
        r"|\b(?:good|great|bad|poor|best) value\b"
        r"|价格|价钱|价位|便宜|性价比|贵",
        r"\bat (?:all costs|any cost|any price)\b|宝贵|珍贵|尊贵|高贵|贵公司|占便宜",
    ),
    "packaging": Aspect(
        r"\bpackag(?:e|es|ed|ing)\b|\bpacking\b|\bwrapp(?:ed|ing|ers?)\b|\bbox(?:es)?\b"
        r"|\bbottles?\b|\bjars?\b|\btins?\b|\bpouch(?:es)?\b|\blids?\b|\bseal(?:s|ed)?\b"
        r"|\bleak(?:s|ed|ing|y)?\b|\bdented\b|\bcrushed\b"
        r"|包装|盒子|箱子|破损|封口",
        r"\b(?:\d+|an?|one|two|three) (?:box(?:es)?|bottles?|jars?|tins?|packages?)\b"
        r"|\b(?:box(?:es)?|bottles?|jars?|tins?|packages?) of\b"
        r"|\bseals? of approval\b|\bsealed the deal\b|\bpackage holidays?\b"
        r"|\bcrushed (?:ice|ginger|garlic|peppers?|tomatoes)\b",
    ),
    "service": Aspect(
        r"\bservice\b|\bcustomer (?:support|care)\b|\bsellers?\b|\bstaff\b"
        r"|\brefund(?:s|ed|ing)?\b|\brepl(?:y|ies|ied)\b"
        r"|服务|客服|售后|退款|退货|卖家",
        r"\b(?:self|food)[- ]service\b|\bservice dogs?\b"
        r"|\bbest[- ]?sellers?\b|服务器",
    ),
}

# Where a clause always ends. A point between digits does not end it.
_ENDS = r"[!?;\n。！？；]+|\.+(?!\d)"
_TURNS = (
    r"(?<!nothing )(?<!anything )(?<!all )\bbut\b(?! also\b)|\bhowever\b"
    r"|\b(?:even |al)?though\b|\bwhereas\b|(?<!不)但是?|可是|然而|(?<!好)不过(?!瘾)"
)
_HARD = re.compile(f"(?P<end>{_ENDS})|(?P<turn>{_TURNS})", re.IGNORECASE)
# Where it ends if both sides name something, and not the same.
_SOFT = re.compile(r",(?!\d)|，|、|\band\b|\bwhile\b", re.IGNORECASE)
# "Although it came late, ...": this comma is a turn.
_CONCEDES = re.compile(
    r"((?:^|[.!?;\n])\s*(?:(?:even |al)?though|while)\b[^,.!?;\n]*),", re.IGNORECASE
)
_TAGS = re.compile(r"<[^<>]*>")


def find_aspects(text: str, aspects: Mapping[str, Aspect] = ASPECTS) -> list[str]:
    """Name the aspects that a text speaks of.

    Parameters
    ----------
    text : str
        A text or a clause, in English or Chinese.
    aspects : mapping of str to Aspect
        What is looked for.

    Returns
    -------
    list of str
        In the order of ``aspects``; empty if there is none.

    Raises
    ------
    ValueError
        If the text is no text, or is longer than a review can be.
    """
    _check_text("text", text)
    return [name for name, aspect in aspects.items() if aspect.found_in(text)]


def split_clauses(text: str, aspects: Mapping[str, Aspect] = ASPECTS) -> list[str]:
    """Cut a text where it may turn to another opinion.

    A clause ends at the end of a sentence and before a word that turns, such as
    *but* or *although*; not in *nothing but* and *not only ... but also*. It ends at
    a comma or an *and* only if the parts before and after name different aspects.

    Parameters
    ----------
    text : str
        A review, in English or Chinese. HTML tags count as ends of lines.
    aspects : mapping of str to Aspect
        What is told apart.

    Returns
    -------
    list of str
        The clauses in order, at least one word each.

    Raises
    ------
    ValueError
        If the text is no text, or is longer than a review can be.
    """
    _check_text("text", text)
    text = _CONCEDES.sub(r"\1;", _TAGS.sub("\n", text))
    clauses, start = list[str](), 0
    for cut in _HARD.finditer(text):
        # The mark belongs to its clause: "!" makes it stronger. The turn to the next.
        end = cut.end() if cut["end"] else cut.start()
        clauses += _split_softly(text[start:end], aspects)
        start = end
    clauses += _split_softly(text[start:], aspects)
    return clauses


def _split_softly(part: str, aspects: Mapping[str, Aspect]) -> list[str]:
    """Cut at commas and the like, where the aspects change."""
    found, named, start = list[str](), set[str](), 0
    ends = [(cut.start(), cut.end()) for cut in _SOFT.finditer(part)]
    before = last = 0  # where the piece before this one ends, and this one begins
    for left, right in [*ends, (len(part), len(part))]:
        here = set(find_aspects(part[last:left], aspects))
        if here and named and here != named:
            found.append(part[start:before])
            start, named = last, set()
        named |= here
        before, last = left, right
    found.append(part[start:])
    return [clause.strip() for clause in found if re.search(r"\w", clause)]
