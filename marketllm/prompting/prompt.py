"""What the model is given to read: an instruction, examples, and one text."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from marketllm.tokenizer import BytePairTokenizer, ChatTemplate

LABEL = "{label}"
TEXT = "{text}"


@dataclass
class _Prompt:
    """A prompt that ends where the label of a text comes.

    Parameters
    ----------
    tokenizer : BytePairTokenizer
        The tokenizer of the model that reads it.
    label_words : sequence of str
        What each class is called.
    instruction : str
        Stands in front; in a chat it is the system's message.
    template : str
        One example: text, then label, then what sets examples apart.
    chat : ChatTemplate or None
        Puts each text into a message and each label word into a reply.
    examples : list of (str, str)
        Texts with their label words.

    Attributes
    ----------
    words : list of list of int
        The tokens of each label word.
    prefix : list of int
        The tokens of instruction and examples: the same for all texts.

    Raises
    ------
    ValueError
        If the template lacks a part, or label words cannot be told apart.
    """

    tokenizer: BytePairTokenizer
    label_words: Sequence[str]
    instruction: str
    template: str
    chat: ChatTemplate | None
    examples: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        before, _, after = self.template.partition(LABEL)
        if before.count(TEXT) != 1 or LABEL in after or after[:1] != "\n":
            raise ValueError(
                f"the template is {self.template!r}: it needs {TEXT} once, behind it "
                f"{LABEL} once, and then a line break."
            )
        self._before, self._after = before.rstrip(" "), after
        if isinstance(self.label_words, str) or len(self.label_words) < 2:
            raise ValueError(
                f"label_words is {self.label_words!r}: give a list of two or more."
            )
        if self.chat and self.chat.tokenizer.tokens != self.tokenizer.tokens:
            raise ValueError(
                f"the chat template writes with a tokenizer of "
                f"{len(self.chat.tokenizer)} tokens that is not the one given, of "
                f"{len(self.tokenizer)}: take both from the same model."
            )
        # In a plain prompt the blank in front of a label word belongs to the word.
        blank = "" if self.chat else before[len(self._before) :]
        self.words = [self.tokenizer.encode(blank + word) for word in self.label_words]
        for i, first in enumerate(self.words):
            for j, second in enumerate(self.words):
                if i != j and second[: len(first)] == first:
                    raise ValueError(
                        f"the label words {self.label_words[i]!r} and "
                        f"{self.label_words[j]!r} are the tokens {first} and {second}: "
                        "one begins with the other. Choose other words."
                    )
        self._names = [blank + name for _, name in self.examples]
        self.prefix = self._prefix_ids()

    def suffix(self, text: str) -> list[int]:
        """Give the tokens behind the prefix: the text, up to where its label comes.

        Parameters
        ----------
        text : str
            The text to classify.

        Returns
        -------
        list of int
            Token ids.

        Raises
        ------
        ValueError
            If the chat template writes the examples otherwise once a text follows.
        """
        if self.chat is None:
            start = self._start()
            return self.tokenizer.encode(
                start[len(start.rstrip()) :] + self._question(text)
            )
        whole, n = self.chat.encode(self._messages(text)), len(self.prefix)
        if whole[:n] != self.prefix:
            raise ValueError(
                f"the chat template writes the {n} tokens of the examples otherwise "
                "when a message follows them: classify without it, by chat=None."
            )
        return whole[n:]

    def write(self, text: str) -> str:
        """Write out all that the model reads for a text.

        Parameters
        ----------
        text : str
            The text to classify.

        Returns
        -------
        str
            Instruction, examples and text, up to where its label comes.
        """
        if self.chat is None:
            return self._start() + self._question(text)
        return self.chat.render(self._messages(text))

    def _question(self, text: str) -> str:
        return self._before.replace(TEXT, text)

    def _start(self) -> str:
        """Write instruction and examples, each with what sets it apart."""
        shown = [self.instruction] if self.instruction else []
        for (text, _), name in zip(self.examples, self._names, strict=True):
            shown.append(self._question(text) + name)
        return "".join(part + self._after for part in shown)

    def _messages(self, text: str | None = None) -> list[dict[str, str]]:
        turns = [("system", self.instruction)] if self.instruction else []
        for example, name in self.examples:
            turns += [("user", self._question(example)), ("assistant", name)]
        turns += [] if text is None else [("user", self._question(text))]
        return [{"role": role, "content": content} for role, content in turns]

    def _prefix_ids(self) -> list[int]:
        if self.chat is None:
            # The line break goes with what follows, and no token reaches across: so
            # the tokens are those of the whole prompt, read at once.
            return self.tokenizer.encode(self._start().rstrip())
        messages = self._messages()
        return self.chat.encode(messages, reply=False) if messages else []
