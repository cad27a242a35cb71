"""Answers to customers: found, written, checked, or left to a person."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from marketllm.marketing.service.guard import objections
from marketllm.marketing.service.orders import Order, OrderBook
from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.retrieval import PassageSearch
from marketllm.marketing.service.routing import (
    asks_for_own,
    handover_reason,
    order_numbers,
)
from marketllm.marketing.service.words import plain, sentences
from marketllm.marketing.service.writing import (
    EXAMPLES,
    Examples,
    Writer,
    grounded_messages,
)

MAX_CHARACTERS = 1000
REFUSED = "I have found nothing on this in our terms. Shall I pass you on to a person?"
UNKNOWN_ORDER = "I find no such order in your account. Please check the number."
HANDED_OVER = "I pass you on to a person, who reads this on the next working day."


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
    examples : sequence of tuple
        Text, question and answer of solved examples for the model.

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
        n_sources: int = 1,
        examples: Examples = EXAMPLES,
    ) -> None:
        self.search = search
        self.writer = writer
        self.threshold = threshold
        self.n_sources = n_sources
        self.examples = examples

    def fit(
        self, passages: Sequence[Passage], orders: Iterable[Order]
    ) -> "ServiceAssistant":
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
        elif asks_for_own(message):
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
        asked = grounded_messages(message, sources, self.examples)
        pieces = iter(self.writer(asked))
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
