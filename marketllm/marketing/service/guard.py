"""What a model has written is checked before a customer sees it."""

from collections.abc import Sequence

from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.words import (
    denies,
    digit_runs,
    facts,
    sentences,
    stems,
)


def objections(answer: str, sources: Sequence[Passage]) -> list[str]:
    """Say what in an answer does not stand in its sources.

    Every word must stand in a source, up to its ending, or be a little word such as
    *the*. So must every e-mail, every date and every number with its unit. A sentence
    needs two words that say something. None may have a negation if the sentence of a
    source that is most like it has none, or the other way round.

    Whether the answer *follows* from the sources is not checked: this program cannot
    know.

    Parameters
    ----------
    answer : str
        What a model has written: anything at all.
    sources : sequence of Passage
        The only texts that it may have taken it from.

    Returns
    -------
    list of str
        What stands nowhere; empty if there is nothing to object to.
    """
    known = [source.text for source in sources] + [source.id for source in sources]
    words = {stem for text in known for stem in stems(text)}
    found = [stem for stem in stems(answer) if stem not in words]
    true = set().union(*map(facts, known)) if known else set()
    found += sorted(facts(answer) - true)
    runs = set().union(*map(digit_runs, known)) if known else set()
    found += [run for run in sorted(digit_runs(answer) - runs) if run not in found]
    if not found:
        found += _turned(answer, [source.text for source in sources])
    return found


def grounded_share(answer: str, sources: Sequence[Passage]) -> float:
    """Give the share of an answer's sentences that hold nothing but the sources.

    It counts words and facts, as :func:`objections` does. It does not measure
    whether a sentence follows from the sources.

    Parameters
    ----------
    answer : str
        Some sentences.
    sources : sequence of Passage
        What they should rest on.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If the answer has no sentence.
    """
    parts = [part for part in sentences(iter([answer])) if part.strip()]
    if not parts:
        raise ValueError("the answer has 0 sentences: give at least one.")
    return sum(not objections(part, sources) for part in parts) / len(parts)


def _turned(answer: str, texts: Sequence[str]) -> list[str]:
    """Find sentences that say too little, or deny what their nearest source says."""
    theirs = [part for text in texts for part in sentences(iter([text]))]
    bags = [set(stems(part)) for part in theirs]
    found = []
    for sentence in sentences(iter([answer])):
        ours = set(stems(sentence))
        if len(ours) < 2:  # "It is yours." promises what the customer asked for
            found += [sentence.strip()] if sentence.strip() else []
            continue
        likeness = [len(ours & bag) / len(ours | bag) for bag in bags]
        nearest = theirs[max(range(len(bags)), key=lambda i: likeness[i])]
        if denies(sentence) != denies(nearest):
            found.append(sentence.strip())
    return found
