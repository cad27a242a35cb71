"""Answers to customers: found, written, checked, or left to a person."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from marketllm.generation import GREEDY, stream
from marketllm.marketing.service.guard import objections
from marketllm.marketing.service.orders import Order, OrderBook
from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.retrieval import PassageSearch
from marketllm.marketing.service.routing import handover_reason
from marketllm.marketing.service.words import digit_runs, plain, sentences
from marketllm.pretrained import PretrainedLlama

Messages = list[dict[str, str]]
Writer = Callable[[Messages], Iterable[str]]

MAX_CHARACTERS = 1000
SYSTEM = (
    "You answer the customers of the shop Larkmoor Tea. Answer the question in one "
    "short sentence. Use only what the text says."
)
REFUSED = "I have found nothing on this in our terms. Shall I pass you on to a person?"
UNKNOWN_ORDER = "I find no such order in your account. Please check the number."
HANDED_OVER = "I pass you on to a person, who reads this on the next working day."
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


@dataclass(frozen=True)
class ServiceAnswer:
    """What a customer is shown, and why.

    Attributes
    ----------
    text : str
        Shown to the customer.
    outcome : str
        ``"composed"`` by the model, ``"quoted"`` from the sources, ``"refused"``,
        ``"unknown order"`` or ``"handed over"``.
    sources : tuple of str
        Ids of the passages and orders that the text rests on.
    reason : str
        Why it was handed over, or ``"guard"`` where what the model wrote was held
        back; else empty.
    """

    text: str
    outcome: str
    sources: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        """Show the text with its sources."""
        return f"{self.text} [{', '.join(self.sources)}]" if self.sources else self.text


def llama_writer(llama: PretrainedLlama, n_tokens: int = 48) -> Writer:
    """Let a chat model write the answers.

    Parameters
    ----------
    llama : PretrainedLlama
        Model, tokenizer and chat template.
    n_tokens : int
        The most tokens of an answer.

    Returns
    -------
    callable
        Takes the messages of a conversation and gives the answer in pieces, greedily.
    """

    def writer(messages: Messages) -> Iterator[str]:
        ids = llama.chat.encode(messages)
        return stream(llama.model, llama.tokenizer, ids, n_tokens, GREEDY)

    return writer


def grounded_messages(question: str, sources: Sequence[Passage]) -> Messages:
    """Write the conversation that a model answers: rules, sources, question.

    All three are made plain, so none can hold a special token. Only the shop's own
    rules are in the message of the system.

    Parameters
    ----------
    question : str
        From a customer.
    sources : sequence of Passage
        What the answer may rest on.

    Returns
    -------
    list of dict
        Messages with ``role`` and ``content``.
    """
    text = "\n".join(plain(source.text) for source in sources)
    asked = f"Text:\n{text}\n\nQuestion: {plain(question)}"
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": asked},
    ]


class ServiceAssistant(BaseEstimator):  # type: ignore[misc]
    """Answer customers from the shop's terms and from their own orders.

    What a model writes is checked sentence by sentence before it is shown. At the
    first objection the sources themselves are shown in its place.

    Parameters
    ----------
    search : PassageSearch
        Its settings and passages are used.
    writer : callable, optional
        Takes messages and gives pieces of text, as from `llama_writer`. None shows
        the best source itself.
    threshold : float
        The least confidence of the search; below it the question is refused.
    n_sources : int
        Passages that the model is shown.

    Attributes
    ----------
    book_ : OrderBook
        Orders by customer.
    """

    def __init__(
        self,
        search: PassageSearch,
        writer: Writer | None = None,
        threshold: float = 0.0,
        n_sources: int = 2,
    ) -> None:
        self.search = search
        self.writer = writer
        self.threshold = threshold
        self.n_sources = n_sources

    def fit(self, passages: Sequence[Passage], orders: Iterable[Order]) -> object:
        """Read the terms and the orders.

        Parameters
        ----------
        passages : sequence of Passage
            The terms.
        orders : iterable of Order
            Of all customers.

        Returns
        -------
        ServiceAssistant
            This estimator.

        Raises
        ------
        ValueError
            If the passages or orders are refused, or ``n_sources`` is below 1.
        """
        if self.n_sources < 1:
            raise ValueError(f"n_sources is {self.n_sources}: give at least 1.")
        self.search.fit(passages)
        self.book_ = OrderBook(orders)
        return self

    def answer(self, message: str, customer: str) -> ServiceAnswer:
        """Answer a message.

        Parameters
        ----------
        message : str
            What the customer wrote; at most 1,000 characters.
        customer : str
            The id that the login gave.

        Returns
        -------
        ServiceAnswer

        Raises
        ------
        ValueError
            If the message is empty, too long or no text, or the customer is not
            known.
        """
        parts = list(self._steps(message, customer))
        text = " ".join(part.text.strip() for part in parts)
        last = parts[-1]
        return ServiceAnswer(text, last.outcome, last.sources, last.reason)

    def stream(self, message: str, customer: str) -> Iterator[str]:
        """Answer a message in pieces, each as soon as it is written and checked.

        Parameters
        ----------
        message, customer : str
            As for :meth:`answer`.

        Yields
        ------
        str
            Sentences. Joined by blanks they are the text of the answer.
        """
        for part in self._steps(message, customer):
            yield part.text.strip()

    def _steps(self, message: str, customer: str) -> Iterator[ServiceAnswer]:
        check_is_fitted(self, "book_")
        orders = self.book_.of(customer)  # the only records that go any further
        message = _checked(message)
        if reason := handover_reason(message):
            yield ServiceAnswer(HANDED_OVER, "handed over", reason=reason)
            return
        mentioned = order_numbers(message)
        if mentioned - {order.number for order in orders}:
            # The same words, and the same work, whether the number exists or not.
            yield ServiceAnswer(UNKNOWN_ORDER, "unknown order")
            return
        if mentioned:
            sources = [o.passage() for o in orders if o.number in mentioned]
        elif _OWN.search(message):
            sources = [order.passage() for order in orders]
        else:
            sources, found = self.search.search_with_confidence(message, self.n_sources)
            if not sources or found < self.threshold:
                yield ServiceAnswer(REFUSED, "refused")
                return
        yield from self._composed(message, sources)

    def _composed(
        self, message: str, sources: list[Passage]
    ) -> Iterator[ServiceAnswer]:
        best = [s for s in sources if order_numbers(s.id)] or sources[:1]
        text, names = " ".join(s.text for s in best), tuple(s.id for s in best)
        if self.writer is None:
            yield ServiceAnswer(text, "quoted", names)
            return
        shown = ""
        pieces = iter(self.writer(grounded_messages(message, sources)))
        for sentence in sentences(pieces):
            if not sentence.strip():
                continue
            if objections(shown + sentence, sources):
                break
            shown += sentence
            ids = tuple(source.id for source in sources)
            yield ServiceAnswer(plain(sentence), "composed", ids)
        else:
            if shown:
                return
        yield ServiceAnswer(text, "quoted", names, "guard")


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
    bare = {run for run in digit_runs(text, 6) if len(run) == 6}
    return {f"LM-{digits}" for digits in bare.union(marked)}


def _checked(message: str) -> str:
    found = plain(message)
    if not found.strip():
        raise ValueError("the message is empty: ask for a question.")
    if len(message) > MAX_CHARACTERS:
        raise ValueError(
            f"the message has {len(message):,} characters, at most {MAX_CHARACTERS:,} "
            "are read: ask for a shorter one."
        )
    return found
