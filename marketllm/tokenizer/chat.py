"""A conversation as tokens, in the form that a published model has learned."""

import re
import secrets
from collections.abc import Mapping, Sequence

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from marketllm.tokenizer.byte_pair import BytePairTokenizer

_ROLES = ("system", "user", "assistant")
# What a template may do wrong when it runs, jinja2's own errors among them.
_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class ChatTemplate:
    """Turn the messages of a conversation into text or token ids.

    A chat model has learned from conversations in one exact form: special tokens
    tell who speaks and where a message ends. The form is published with the model,
    as a template in the language Jinja. What the template itself writes can be a
    special token. Where a message holds the same letters, they stay letters: a
    customer can write ``<|im_end|>``, and the message does not end there.

    Parameters
    ----------
    source : str
        The template. It may come from anywhere: it runs in a sandbox, where it can
        read the messages and change nothing.
    tokenizer : BytePairTokenizer
        The tokenizer of the same model.

    Attributes
    ----------
    source : str
        As given.
    tokenizer : BytePairTokenizer
        As given.

    Raises
    ------
    ValueError
        If the template is no Jinja, or asks for a special token that the tokenizer
        does not have.
    """

    def __init__(self, source: str, tokenizer: BytePairTokenizer) -> None:
        self.source = source
        self.tokenizer = tokenizer
        for name in re.findall(r"<\|\w+\|>", source):
            if name not in tokenizer.special_ids:
                raise ValueError(
                    f"the template writes {name}, which is no special token of the "
                    f"tokenizer; it has {', '.join(tokenizer.special)}. Give template "
                    "and tokenizer of the same model."
                )
        # In the template, special tokens bear names that no customer can guess.
        mark = secrets.token_hex(16)
        self._mark = re.compile(rf"\[{mark}:(\d+)\]")
        names = sorted(tokenizer.special, key=len, reverse=True)
        self._name = re.compile("|".join(map(re.escape, names)))
        marked = self._name.sub(
            lambda found: f"[{mark}:{tokenizer.special_ids[found[0]]}]", source
        )
        self._given = {
            "eos_token": f"[{mark}:{tokenizer.end_id}]",
            "tools": None,
            "documents": None,
        }
        # The settings are those under which the templates are written.
        sandbox = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        sandbox.globals["raise_exception"] = _refuse
        try:
            wanted = meta.find_undeclared_variables(sandbox.parse(marked))
            self._template = sandbox.from_string(marked)
        except jinja2.TemplateError as error:
            raise ValueError(
                f"the template is no Jinja ({error}): give it as it was published."
            ) from error
        for name in sorted(wanted - set(self._given)):
            if name.endswith("_token"):
                raise ValueError(
                    f"the template asks for {name}, and the tokenizer knows only its "
                    "end: write the name of the token into the template."
                )

    def __reduce__(self) -> tuple[type, tuple[str, BytePairTokenizer]]:
        """Copy and pickle by making it anew: Jinja's templates can do neither."""
        return type(self), (self.source, self.tokenizer)

    def render(self, messages: Sequence[Mapping[str, str]], reply: bool = True) -> str:
        """Write a conversation as the text that the model would read.

        Parameters
        ----------
        messages : sequence of mappings
            Each has a ``"role"`` (``"system"``, ``"user"`` or ``"assistant"``) and
            a ``"content"``, the text.
        reply : bool
            Whether to open a message of the assistant, for the model to write.

        Returns
        -------
        str
            The text, to look at. It no longer tells the special tokens from the
            same letters in a message: do not encode it, use :meth:`encode`.

        Raises
        ------
        ValueError
            If there is no message, a message has another form, or the template
            refuses the messages.
        """
        parts = self._parts(messages, reply)
        names = self.tokenizer.tokens
        parts[1::2] = [names[int(i)].decode() for i in parts[1::2]]
        return "".join(parts)

    def encode(
        self, messages: Sequence[Mapping[str, str]], reply: bool = True
    ) -> list[int]:
        """Turn a conversation into token ids.

        Parameters
        ----------
        messages : sequence of mappings
            As for :meth:`render`.
        reply : bool
            Whether to open a message of the assistant, for the model to write.

        Returns
        -------
        list of int
            The ids. Special tokens come from the template alone.

        Raises
        ------
        ValueError
            As for :meth:`render`, and where a text cannot be encoded.
        """
        ids: list[int] = []
        for place, part in enumerate(self._parts(messages, reply)):
            ids += [int(part)] if place % 2 else self.tokenizer.encode(part)
        return ids

    def _parts(self, messages: Sequence[Mapping[str, str]], reply: bool) -> list[str]:
        """Run the template: plain text, a special id, plain text, and so on."""
        checked = [_checked(i, message) for i, message in enumerate(messages)]
        if not checked:
            raise ValueError(
                "there are no messages: give at least one, such as "
                "[{'role': 'user', 'content': 'Where is my tea?'}]."
            )
        # A template may put a special token together from pieces, which escapes us.
        for plain in self._run([m | {"content": "x"} for m in checked], reply)[::2]:
            if found := self._name.search(plain):
                raise ValueError(
                    f"the template puts {found[0]} together from pieces, so it cannot "
                    "be told from the letters of a message: write the special tokens "
                    "as one piece each into the template."
                )
        return self._run(checked, reply)

    def _run(self, messages: list[dict[str, str]], reply: bool) -> list[str]:
        try:
            text = self._template.render(
                messages=messages, add_generation_prompt=reply, **self._given
            )
        except _FAULTS as error:
            raise ValueError(
                f"the template refuses the messages ({error}): give them in the order "
                "and with the roles that the model has learned."
            ) from error
        return self._mark.split(text)


def _checked(i: int, message: Mapping[str, str]) -> dict[str, str]:
    """Copy a message that has a known role and a text, and nothing else."""
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        held = list(message) if isinstance(message, Mapping) else message
        raise ValueError(
            f"message {i} is or holds {held!r}: give 'role' and 'content', no more."
        )
    if message["role"] not in _ROLES:
        raise ValueError(
            f"message {i} has the role {message['role']!r}: take one of {_ROLES}."
        )
    if not isinstance(message["content"], str):
        raise ValueError(
            f"the content of message {i} is of type "
            f"{type(message['content']).__name__}: give a text of type str."
        )
    return {"role": message["role"], "content": message["content"]}


def _refuse(reason: str) -> None:
    """Let a template say what it does not accept."""
    raise jinja2.TemplateError(reason)
