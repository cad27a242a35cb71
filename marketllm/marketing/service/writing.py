"""What a model is asked, and the model that writes."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from marketllm.generation import GREEDY, stream
from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.words import plain
from marketllm.pretrained import PretrainedLlama

Messages = list[dict[str, str]]
Examples = Sequence[tuple[str, str, str]]
Writer = Callable[[Messages], Iterable[str]]

SYSTEM = (
    "You answer the customers of the shop Larkmoor Tea. Answer the question in one "
    "short sentence. Use only what the text says."
)
# Text, question and answer, of another shop: they show what an answer looks like.
EXAMPLES = (
    (
        "A jar of honey costs 6.20 euros.\nOur honey is not heated.",
        "What do I pay for the honey?",
        "A jar of honey costs 6.20 euros.",
    ),
    (
        "A candle burns for 40 hours.\nWe do not sell matches.",
        "Can I get matches from you?",
        "We do not sell matches.",
    ),
)


def llama_writer(llama: PretrainedLlama, n_tokens: int = 40) -> Writer:
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


def grounded_messages(
    question: str, sources: Sequence[Passage], examples: Examples = ()
) -> Messages:
    """Write the conversation that a model answers: rules, sources, question.

    All of it is made plain, so nothing can hold a special token. Only the shop's own
    rules are in the message of the system.

    Parameters
    ----------
    question : str
        From a customer.
    sources : sequence of Passage
        What the answer may rest on.
    examples : sequence of tuple
        Text, question and answer of solved examples, as turns before the question.

    Returns
    -------
    list of dict
        Messages with ``role`` and ``content``.
    """
    messages = [{"role": "system", "content": SYSTEM}]
    text = "\n".join(source.text for source in sources)
    for shown, asked, answer in (*examples, (text, question, "")):
        content = f"Text:\n{plain(shown)}\n\nQuestion: {plain(asked)}"
        messages.append({"role": "user", "content": content})
        if answer:
            messages.append({"role": "assistant", "content": plain(answer)})
    return messages
