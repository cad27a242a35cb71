"""Pieces of text: never half a character, never a part of a stop string."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import Counter, Script, draw, tiny_llama

from marketllm.generation import GREEDY, Sampling, generate, stream, write
from marketllm.tokenizer import BytePairTokenizer

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)
LETTERS = "ab.é茶🍵\n"
# Every pair of bytes that the letters can make is a token: the border of a token
# may stand inside a character, or a token hold the end of one and half the next.
_BYTES = sorted({byte for letter in LETTERS for byte in letter.encode()})
_PLAIN = BytePairTokenizer()
_IDS = {token: i for i, token in enumerate(_PLAIN.tokens)}
TOKENIZER = BytePairTokenizer(
    [
        (_IDS[bytes([left])], _IDS[bytes([right])])
        for left, right in itertools.product(_BYTES, repeat=2)
    ]
)
PAIRS = {token: i for i, token in enumerate(TOKENIZER.tokens)}
START, PAD, END = PAIRS[b"x"], TOKENIZER.pad_id, TOKENIZER.end_id
TEXTS = st.text(LETTERS, max_size=9)
STOPS = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3)


def cut_into_tokens(text, cuts):
    """Ids of one byte or two, as the cuts say."""
    raw, ids = text.encode(), []
    while raw:
        n = 1 + next(cuts) if len(raw) > 1 else 1
        ids.append(PAIRS[raw[:n]])
        raw = raw[n:]
    return ids


def pieces_of(ids, stop=(), n_tokens=None):
    model = Script([*ids, END], len(TOKENIZER))
    n_tokens = len(ids) + 1 if n_tokens is None else n_tokens
    pieces = list(stream(model, TOKENIZER, [START], n_tokens, GREEDY, stop))
    return pieces, model


def before_stop(text, stop):
    """The rule, letter by letter: the first that is complete, then the longest."""
    for end in range(1, len(text) + 1):
        found = [len(s) for s in stop if text[:end].endswith(s)]
        if found:
            return text[: end - max(found)]
    return text


# Characters and stop strings ------------------------------------------------------


@PROPERTY
@given(text=TEXTS, stop=STOPS, cuts=st.lists(st.integers(0, 1), min_size=40))
def test_the_pieces_do_not_depend_on_the_tokens(text, stop, cuts):
    ids = cut_into_tokens(text, itertools.cycle(cuts))
    pieces, _ = pieces_of(ids, stop)
    assert "" not in pieces
    assert "".join(pieces) == before_stop(text, stop)
    assert "\ufffd" not in "".join(pieces)
    model = Script([*ids, END], len(TOKENIZER))
    written = write(model, TOKENIZER, "x", len(ids) + 1, GREEDY, stop)
    assert written == "".join(pieces)


@PROPERTY
@given(text=TEXTS, cuts=st.lists(st.integers(0, 1), min_size=40), data=st.data())
def test_a_text_cut_short_is_what_the_tokenizer_says(text, cuts, data):
    ids = cut_into_tokens(text + "a", itertools.cycle(cuts))
    n = data.draw(st.integers(1, len(ids)))
    pieces, _ = pieces_of(ids, n_tokens=n)
    assert "".join(pieces) == TOKENIZER.decode(ids[:n])  # half a character: U+FFFD


@PROPERTY
@given(text=TEXTS, stop=STOPS, cuts=st.lists(st.integers(0, 1), min_size=40))
def test_a_piece_is_given_as_soon_as_it_is_sure(text, stop, cuts):
    """What is held back is half a character or may begin a stop string."""
    ids = cut_into_tokens(text, itertools.cycle(cuts))
    model = Script([*ids, END], len(TOKENIZER))
    given_so_far = ""
    for piece in stream(model, TOKENIZER, [START], len(ids) + 1, GREEDY, stop):
        given_so_far += piece
        read = b"".join(TOKENIZER.tokens[i] for i in ids[: model.n_read])
        held = read.decode(errors="ignore")[len(given_so_far) :]
        ended = before_stop(text, stop) == given_so_far or model.n_read > len(ids)
        assert ended or not held or any(string.startswith(held) for string in stop)


@pytest.mark.parametrize(
    ("text", "stop", "expected", "n_read"),
    [
        ("ab.b", ["."], ["a", "b"], 3),  # nothing is read for after the stop
        ("aab.b", ["ab."], ["a"], 4),
        ("aab.b", ["abb"], ["a", "ab.", "b"], 6),  # only the beginning of one
        ("ab", ["abb"], ["ab"], 3),  # held to the end, then given
        ("bab", ["b"], [], 1),
        ("aaab", ["aab"], ["a"], 4),  # it begins at the second a, not the first
        ("ab.", ["b", "ab"], [], 2),  # both at once: the longer one
        ("ab.b", ["ab.b", "b"], ["a"], 2),  # the one that is complete first
        ("a茶b", ["茶b"], ["a"], 5),
    ],
)
def test_stop_strings_by_hand(text, stop, expected, n_read):
    pieces, model = pieces_of(cut_into_tokens(text, itertools.repeat(0)), stop)
    assert (pieces, model.n_read) == (expected, n_read)


def test_a_character_is_given_when_its_last_byte_is_there():
    pieces, _ = pieces_of(cut_into_tokens("é茶🍵", itertools.repeat(0)))
    assert pieces == ["é", "茶", "🍵"]
    pieces, _ = pieces_of([PAIRS[b"\xf0\x9f"], PAIRS[b"\x8d\xb5"], PAIRS[b"a"]])
    assert pieces == ["🍵", "a"]
    pieces, _ = pieces_of([PAIRS[b"\xf0\x9f"], PAIRS[b"a"]])  # never completed
    assert pieces == ["\ufffda"]


def test_special_tokens_are_written_as_the_tokenizer_writes_them():
    mask = TOKENIZER.mask_id
    pieces, _ = pieces_of([PAIRS[b"a"], mask, PAIRS[b"b"]])
    assert "".join(pieces) == TOKENIZER.decode([PAIRS[b"a"], mask, PAIRS[b"b"]])
    pieces, model = pieces_of([PAIRS[b"a"], mask, PAIRS[b"b"]], ["<mask>"])
    assert (pieces, model.n_read) == (["a"], 2)


def test_the_prompt_is_not_searched_for_stop_strings():
    model = Script([PAIRS[b"b"], END], len(TOKENIZER))
    assert write(model, TOKENIZER, [PAIRS[b"a"]], 2, GREEDY, ["a", "ab"]) == "b"


# With a model that draws ------------------------------------------------------------


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.2, 200, 0.99, 1.1)])
def test_a_text_is_that_of_the_tokens(sampling):
    model = tiny_llama(vocab_size=len(TOKENIZER))
    prompt = TOKENIZER.encode("ab é")
    (ids,) = generate(
        model, [prompt], 30, sampling, end_ids=[TOKENIZER.end_id], generator=draw(2)
    )
    text = write(model, TOKENIZER, "ab é", 30, sampling, generator=draw(2))
    assert text == TOKENIZER.decode(ids)
    assert len(ids) > 10
    pieces = list(stream(model, TOKENIZER, prompt, 30, sampling, generator=draw(2)))
    assert len(pieces) > 5
    assert "".join(pieces) == text


def test_a_stream_that_is_left_leaves_the_model_as_it_was():
    model = Script([PAIRS[b"a"]] * 9, len(TOKENIZER)).train()
    pieces = stream(model, TOKENIZER, [START], 9, GREEDY)
    assert next(pieces) == "a"
    assert (model.n_read, model.training) == (1, True)  # also between two pieces
    assert torch.is_grad_enabled()
    pieces.close()
    assert model.training


# Refused ------------------------------------------------------------------------------


def test_bad_stop_strings_are_refused_at_once():
    model = Script([END], len(TOKENIZER))
    with pytest.raises(ValueError, match=r"stop is one string: .* \['ab'\]"):
        stream(model, TOKENIZER, "a", 3, stop="ab")
    with pytest.raises(ValueError, match="stop string 1 of 2 is empty"):
        stream(model, TOKENIZER, "a", 3, stop=["a", ""])
    with pytest.raises(ValueError, match="n_tokens is 0"):
        stream(model, TOKENIZER, "a", 0)
    with pytest.raises(ValueError, match="prompt 0 of 1 has no token"):
        write(model, TOKENIZER, "", 3)
    assert model.n_read == 0


def test_the_tokenizer_of_another_model_is_refused():
    message = f"the tokenizer has {len(TOKENIZER)} tokens, but .* vocabulary has 6"
    with pytest.raises(ValueError, match=message):
        stream(Counter(), TOKENIZER, "a", 3)
