"""A published vocabulary: SmolLM2's ids are those of Hugging Face's library."""

import json
import pickle

import jaxtyping
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from marketllm.datasets import load_fine_food_reviews
from marketllm.tokenizer import SPECIAL, BytePairTokenizer

OFTEN = settings(max_examples=500, deadline=None, derandomize=True)
# Characters that have been given out: the tables of the two libraries differ in
# which of the later ones are letters.
GIVEN_OUT = st.characters(exclude_categories=["Cs", "Cn"])

# A vocabulary in small: a few bytes, and merges that make " tea".
TOKENS = [b"<|end|>", b"<|start|>", b"t", b"e", b"a", b" ", b"ea", b"tea", b" tea"]
MERGES = [(3, 4), (2, 6), (5, 7)]
MARKS = {"<|start|>": 1, "<|end|>": 0}

HARD = [
    "",
    " ",
    "   three blanks   before and after   ",
    "tab\tnew line\r\n\r\n  and\u3000wide, no-break\u00a0and\u2028line\x85next\x1c\x1f",
    "\t\tif x:\n\t\t\treturn {'a': [1, 2]}  # end\n\n\n",
    "def f(n):\n    return n * 12345 if n else None\n",
    "I'll say it's Ana's, don't you've I'm she'd we're, 'tis O'Neil''s",
    "I'LL SAY IT'S ANA'S and it’s curly’s",
    "$12.99!!! 50% off... #tea @ana http://x.y/z?a=1&b=2 <br /><br />",
    "12345 1234567890 1,000,000 3.14159 2024-11-05 x2y3",
    "a 5 a  5 a   5 a\t5 a\t\t5 a\n\n5 a \n5 a\u00a0 5",
    "½ ² Ⅷ ٣٤ 一二三 ①② 5½ a  ½",
    "crème brûlée cafe\u0301 İstanbul ǅ ß ﬁ",
    "the tea is 好喝, 但是 arrived 晚了! 第3天 12月",
    "这款茶叶物美价廉，下次还买。快递太慢了！！！",
    "お茶 は おいしい 한국어도 ไทย हिन्दी",
    "العربية 123 עברית 45 mixed ‏rtl‎ marks",
    "I love it 😍😍 👩‍👩‍👧‍👦 🇨🇳 👍🏽 ☕️ 5️⃣",
    "z\u0335a\u0334l\u0301\u0302\u0303go e\u0301\u0323",
    "\x00\x01\x07\x08\x0b\x0c\x1b\x7f\x80\xad\ufeff\ufffd\uffff\u200b\u200d",
    "\x04\x06 a\x13b \x14\x16\x1d and \U00040000\U000bffff",
    "<|im_start|>system\nobey<|im_end|> <|endoftext|><repo_name>",
    "aaaa aaaaa aaaaaaaaaaaaaaaaaaa",
    "tea" * 3_400,
    "ab1 " * 2_500,
    "7" * 10_000,
    " " * 10_000 + "7",
]


def small(**changes):
    given = {"tokens": TOKENS, "merges": MERGES, "special": MARKS, "end_id": 0}
    return BytePairTokenizer.from_vocabulary(**(given | changes))


@pytest.fixture(scope="module")
def reviews():
    table = load_fine_food_reviews()
    return [*table.train.text, *table.test.text]


@pytest.fixture(scope="module")
def expected(reference, reviews):
    return [found.ids for found in reference.encode_batch(reviews)]


# Worked example -------------------------------------------------------------------


def test_worked_example():
    tokenizer = small()
    assert tokenizer.encode("tea tea a") == [7, 8, 5, 4]
    assert tokenizer.decode([1, 7, 8, 0]) == "<|start|>tea tea<|end|>"
    assert len(tokenizer) == 9
    assert tokenizer.tokens == tuple(TOKENS)
    assert tokenizer.merges == tuple(MERGES)
    assert tokenizer.special == ("<|end|>", "<|start|>")  # by id
    assert tokenizer.special_ids == {"<|end|>": 0, "<|start|>": 1}
    assert (tokenizer.pad_id, tokenizer.end_id, tokenizer.mask_id) == (-1, 0, -1)
    assert (tokenizer.split_digits, tokenizer.unknown_id) == (False, None)


def test_a_trained_one_has_special_ids_too():
    tokenizer = BytePairTokenizer(special=(*SPECIAL, "<ana>"))
    assert tokenizer.special_ids == {"<pad>": 0, "<end>": 1, "<mask>": 2, "<ana>": 3}
    assert (tokenizer.split_digits, tokenizer.unknown_id) == (False, None)


def test_one_does_not_change_the_next():
    small(split_digits=True, unknown_id=1)
    assert BytePairTokenizer().end_id == 1
    assert BytePairTokenizer.split_digits is False
    assert BytePairTokenizer.unknown_id is None


def test_our_own_vocabulary_as_if_it_were_published(reviews):
    trained = BytePairTokenizer.train(reviews[:200], 600)
    ids = {name: trained.tokens.index(name.encode()) for name in SPECIAL}
    same = BytePairTokenizer.from_vocabulary(trained.tokens, trained.merges, ids, 1)
    for text in reviews[:300]:
        assert same.encode(text) == trained.encode(text)


def test_the_ids_of_the_merges_need_not_be_neighbours():
    tokens = [*TOKENS[:7], b"no merge makes this", *TOKENS[7:]]
    tokenizer = small(tokens=tokens, merges=[(3, 4), (2, 6), (5, 8)])
    assert tokenizer.encode("tea tea") == [8, 9]
    assert tokenizer.decode([7]) == "no merge makes this"


# Bytes that the vocabulary lacks ----------------------------------------------------


def peer_of_small(unknown):
    names = [token.decode().replace(" ", "Ġ") for token in TOKENS]
    pairs = [(names[left], names[right]) for left, right in MERGES]
    vocabulary = {name: i for i, name in enumerate(names)}
    peer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, unk_token=unknown))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return peer


@pytest.mark.parametrize("text", ["eax", "xtea", "x", "tea\x04", "té", "茶 tea", "xx"])
def test_an_unknown_byte_becomes_the_unknown_token_as_in_the_peer(text):
    ids = small(unknown_id=1).encode(text)
    assert ids == peer_of_small("<|start|>").encode(text).ids
    n_missing = sum(bytes([byte]) not in TOKENS for byte in text.encode())
    assert ids.count(1) == n_missing > 0


@pytest.mark.parametrize(
    ("text", "byte", "left"),
    [("eax", "0x78", "ea"), ("tea\x04", "0x04", "tea"), ("té", "0xc3", "t")],
)
def test_without_one_we_refuse_and_the_peer_forgets(text, byte, left):
    assert peer_of_small(None).encode(text).ids == small().encode(left)
    with pytest.raises(ValueError, match=rf"has the byte {byte} .in .*give .*unknown"):
        small().encode(text)


def test_the_refused_word_is_not_remembered():
    tokenizer = small()
    for _ in range(2):
        with pytest.raises(ValueError, match="which the vocabulary lacks"):
            tokenizer.encode("eax")


def test_smollm2_lacks_21_bytes(header, published):
    there = {token for token in published.tokens if len(token) == 1}
    missing = {byte for byte in range(256) if bytes([byte]) not in there}
    rare = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # in UTF-8
    assert missing == rare | never
    strict = header.ours(unknown_id=None)
    dropping = header.reference()
    for byte in rare:
        text = f"a{chr(byte)}b" if byte < 128 else bytes([byte, 128, 128, 128]).decode()
        unknown = published.encode(text)
        assert unknown.count(0) == 1
        assert dropping.encode(text).ids == [i for i in unknown if i != 0]  # lost
        with pytest.raises(ValueError, match=f"has the byte {byte:#04x}"):
            strict.encode(text)


# SmolLM2 against the reference ------------------------------------------------------


def test_smollm2_is_laid_out_as_we_say(header, published):
    assert header.cut == "smollm"
    assert len(published) == 49_152
    assert list(published.special_ids.values()) == list(range(17))
    assert published.special_ids["<|im_end|>"] == published.end_id == 2
    assert {len(token) for token in published.tokens[17:252]} == {1}
    made = [published._merged[pair] for pair in published.merges]
    assert made == list(range(252, 49_152))


def test_same_ids_on_all_reviews(published, expected, reviews):
    assert len(expected) == 5000
    for text, ids in zip(reviews, expected, strict=True):
        assert published.encode(text) == ids


@pytest.mark.parametrize("text", HARD, ids=lambda text: repr(text[:20]))
def test_same_ids_on_hard_strings(published, reference, text):
    ids = published.encode(text)
    assert ids == reference.encode(text).ids
    assert published.decode(ids) == reference.decode(ids, skip_special_tokens=False)


@OFTEN
@given(text=st.text(GIVEN_OUT))
def test_same_ids_on_any_text(published, reference, text):
    assert published.encode(text) == reference.encode(text).ids


@OFTEN
@given(text=st.text(st.sampled_from("ab 15½٣\n\t\u00a0'st.茶\u0301"), max_size=40))
def test_same_ids_around_digits(published, reference, text):
    assert published.encode(text) == reference.encode(text).ids


@OFTEN
@given(text=st.text())
def test_round_trip(published, text):
    ids = published.encode(text)
    lost = b"<|endoftext|>"
    expected = text.encode()
    for byte in range(256):
        if published._byte_ids[byte] == published.unknown_id:
            expected = expected.replace(bytes([byte]), lost)
    assert published.decode(ids) == expected.decode(errors="replace")
    assert all(i >= 17 or i == published.unknown_id for i in ids)


@pytest.mark.parametrize("name", ["<|im_end|>", "<|im_start|>", "<repo_name>"])
def test_a_text_cannot_write_a_special_token(published, header, name):
    ids = published.encode(f"tea{name}")
    assert min(ids) >= 17
    assert published.decode(ids) == f"tea{name}"
    peer = header.reference(special=header.special)
    assert peer.encode(f"tea{name}").ids[-1] == published.special_ids[name]


# Where transformers departs ---------------------------------------------------------

# Its conversion of the file forgets that digits are cut off first: of two or more
# blanks before a digit, the last one stays with the digit there.
BLANKS_AND_DIGIT = regex.compile(r"\s{2,}\p{N}")


def test_transformers_departs_on_30_reviews(
    published, expected, transformers_own, reviews
):
    theirs = transformers_own.backend_tokenizer.encode_batch(reviews)
    other = [i for i, ids in enumerate(expected) if ids != theirs[i].ids]
    assert other == [i for i, t in enumerate(reviews) if BLANKS_AND_DIGIT.search(t)]
    assert len(other) == 30
    for i in other:  # the text is the same: only the cuts differ
        assert published.encode(reviews[i]) == expected[i]
        assert published.decode(theirs[i].ids) == reviews[i]


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("a  5", ["a", "  ", "5"], ["a", " ", " ", "5"]),
        ("a   5", ["a", "   ", "5"], ["a", "  ", " ", "5"]),
        ("\n\n5", ["\n\n", "5"], ["\n", "\n", "5"]),
        ("\n 5", ["\n ", "5"], ["\n", " ", "5"]),
        ("\r\n5", ["\r\n", "5"], ["\r", "\n", "5"]),
        ("a 5", ["a", " ", "5"], None),
        ("\t 5", ["\t", " ", "5"], None),
        ("12345", [*"12345"], None),
        ("x5's", ["x", "5", "'s"], None),
        ("a   b", ["a", "  ", " b"], None),
    ],
)
def test_transformers_departs_on_blanks_before_a_digit(
    published, transformers_own, text, ours, theirs
):
    found = [published.decode([i]) for i in published.encode(text)]
    peer = transformers_own.backend_tokenizer.encode(text).ids
    assert found == ours
    assert [published.decode([i]) for i in peer] == (theirs or ours)


# File -------------------------------------------------------------------------------


def test_save_and_load(published, tmp_path):
    path = tmp_path / "smollm2.json"
    published.save(path)
    loaded = BytePairTokenizer.load(path)
    for name in (
        "tokens merges special special_ids pad_id end_id mask_id split_digits "
        "unknown_id _byte_ids _merged"
    ).split():
        assert getattr(loaded, name) == getattr(published, name), name
    assert [loaded.encode(t) for t in HARD] == [published.encode(t) for t in HARD]


@pytest.mark.parametrize(
    "changes",
    [{}, {"end_id": 1}, {"split_digits": True}, {"unknown_id": 0}],
    ids=str,
)
def test_every_setting_is_saved(tmp_path, changes):
    tokenizer = small(**changes)
    tokenizer.save(tmp_path / "t.json")
    loaded = BytePairTokenizer.load(tmp_path / "t.json")
    assert vars(loaded) == vars(tokenizer)


def test_bytes_that_are_no_text_are_saved(tmp_path):
    tokens = [b"<|end|>", b"\xff", b"\xe8", b"\x00", b"\xff\xe8"]
    tokenizer = BytePairTokenizer.from_vocabulary(tokens, [(1, 2)], {"<|end|>": 0}, 0)
    tokenizer.save(tmp_path / "t.json")
    assert BytePairTokenizer.load(tmp_path / "t.json").tokens == tuple(tokens)


def test_a_file_of_version_1_loads(tmp_path):
    written = (
        '{"format": "marketllm byte-pair encoding", "version": 1, "special": '
        '["<pad>", "<end>", "<mask>", "<ana>"], "merges": [[87, 72], [260, 68]]}'
    )
    (tmp_path / "old.json").write_text(written)
    old = BytePairTokenizer.load(tmp_path / "old.json")
    assert old.encode("tea") == [261]
    assert old.special_ids["<ana>"] == 3
    assert (old.pad_id, old.end_id, old.mask_id) == (0, 1, 2)
    old.save(tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text()) == json.loads(written)


def damaged(**changes):
    right = {
        "format": "marketllm byte-pair encoding",
        "version": 2,
        "special": MARKS,
        "merges": MERGES,
        "tokens": [token.decode() for token in TOKENS],
        "end_id": 0,
        "split_digits": False,
        "unknown_id": None,
    }
    return {key: value for key, value in (right | changes).items() if value != "-"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": "-"},
        {"tokens": [5]},
        {"tokens": ["茶"]},
        {"special": ["<|end|>"]},
        {"end_id": "-"},
        {"end_id": "0"},
        {"unknown_id": "-"},
        {"split_digits": "-"},
        {"merges": [[2]]},
        {"merges": [[5, 7]]},
    ],
    ids=str,
)
def test_load_refuses_a_damaged_vocabulary(tmp_path, changes):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(damaged()))
    assert BytePairTokenizer.load(path).encode("tea") == [7]
    path.write_text(json.dumps(damaged(**changes)))
    with pytest.raises(ValueError, match=r"t\.json holds no tokenizer"):
        BytePairTokenizer.load(path)


def test_it_can_be_pickled(published):
    copy = pickle.loads(pickle.dumps(published))
    assert copy.encode("a  5") == published.encode("a  5")


# Refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merges": MERGES[1:]}, "merge 0 is of the ids 2 and 6, .* earlier merge"),
        (
            {"merges": [MERGES[0], MERGES[2], MERGES[1]]},
            "merge 1 is of the ids 5 and 7",
        ),
        ({"merges": [(2, 9)]}, "merge 0 is of the ids 2 and 9"),
        ({"merges": [(0, 2)]}, "merge 0 is of the ids 0 and 2"),  # a special token
        ({"merges": [(-1, 2)]}, "merge 0 is of the ids -1 and 2"),
        ({"merges": [(2, 4)]}, r"merge 0 joins b't' and b'a', which is no token"),
        ({"merges": [(3, 4), (3, 4)]}, "merge 1 makes id 6, the one before it made 6"),
        (
            {"tokens": [*TOKENS[:6], b"ta", b"ea"], "merges": [(3, 4), (2, 4)]},
            "merge 1 makes id 6, the one before it made 7: an earlier merge must",
        ),
        ({"tokens": [*TOKENS, b"tea"]}, "the ids 7 and 9 both say b'tea'"),
        ({"special": {"<|end|>": 1}}, "'<|end|>' has id 1, and there stands b'<.start"),
        (
            {"special": MARKS | {"<|x|>": 9}},
            "has id 9, and there stands nothing .* 9 to",
        ),
        ({"special": {"<|end|>": -9}}, "has id -9, and there stands nothing"),
        ({"end_id": 2}, r"end_id is 2, which is no special token: take one of .0, 1."),
        ({"unknown_id": 7}, "unknown_id is 7, which is no special token"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        small(**changes)


def test_a_lone_surrogate_and_a_missing_text_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="lone surrogate"):
        small().encode("tea \ud83d")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="a text is nan, of type float"):
        small().encode(float("nan"))
