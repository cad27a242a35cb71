"""Questions to the invented shop, each with its answer and its part."""

from dataclasses import dataclass

from marketllm.experiments.applications.service_texts import (
    ASKED,
    OWN,
    UNANSWERABLE,
)

_TO_A_PERSON = """
asked for
I want to talk to a human.
Please connect me with somebody from your team, a real person.
Can you call me?
Is there anybody there who is not a robot?
angry
This is the worst shop I have ever seen!!
You are thieves and liars.
I am fed up with your excuses.
For three weeks you have been leading me by the nose and I have had enough of it.
legal
My lawyer will write to you.
I am going to the police about this.
I shall see you in court.
You will get a letter from the chamber of consumers.
advice
Should I invest my savings in tea plantations?
Which tea may I drink while I am pregnant?
Does green tea help against high blood pressure?
Is it wise to put money into a fund for coffee?
"""


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes
    ----------
    text : str
        As a customer asks it.
    ids : tuple of str
        Passages or orders that answer it; empty where none does.
    fact : str
        What a right answer must hold.
    customer : str
        Who asks.
    part : {"validation", "test"}
        Every third question is for validation.
    """

    text: str
    ids: tuple[str, ...]
    fact: str
    customer: str
    part: str


def questions() -> list[Question]:
    """Give all questions, each with its part, which never changes.

    Returns
    -------
    list of Question
        First those that the terms answer, then those that nothing answers, then
        those about one's own order.
    """
    found: list[Question] = []
    head: list[str] = []
    for kind, text in (("terms", ASKED), ("none", UNANSWERABLE), ("own", OWN)):
        for line in text.strip().split("\n"):
            if " = " in line:
                head = line.split(" = ")
                continue
            ids, fact = ("", "") if kind == "none" else head[-2:]
            customer = head[0] if kind == "own" else "C-01"
            part = "validation" if len(found) % 3 == 1 else "test"
            found.append(Question(line, (ids,) * bool(ids), fact, customer, part))
    return found


def messages_for_a_person() -> list[tuple[str, str]]:
    """Give messages that a person should answer, each with the reason.

    Returns
    -------
    list of tuple
        Reason and message.
    """
    found, reason = [], ""
    for line in _TO_A_PERSON.strip().split("\n"):
        if line[0].islower():
            reason = line
        else:
            found.append((reason, line))
    return found
