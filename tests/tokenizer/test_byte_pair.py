"""Text to bytes, to pieces, and back; against Hugging Face's byte-level BPE."""

import json
import os
import pickle
from collections import Counter
from itertools import pairwise

import jaxtyping
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from marketllm.datasets import load_chinese_reviews, load_fine_food_reviews
from marketllm.tokenizer import SPECIAL, BytePairTokenizer
from marketllm.tokenizer.merges import apply_merges, learn_merges

OFTEN = settings(max_examples=1500, deadline=None, derandomize=True)
SOMETIMES = settings(max_examples=150, deadline=None, derandomize=True)
# All characters that have been given out in Python's version of Unicode. Those of
# later versions are cut elsewhere by Hugging Face, whose tables are older.
GIVEN_OUT = st.characters(exclude_categories=["Cs", "Cn"])
FIRST_BYTE, FIRST_MERGE = 3, 259

HARD = [
    "",
    " ",
    "   three blanks   before and after   ",
    "tab\tnew line\r\n\r\n  and\u3000wide, no-break\u00a0and\u2028line\x85next\x1c\x1f",
    "I'll say it's Ana's, don't you've I'm she'd we're, 'tis O'Neil''s",
    "I'LL SAY IT'S ANA'S and it’s curly’s",
    "$12.99!!! 50% off... #tea @ana http://x.y/z?a=1&b=2 <br /><br />",
    "12345 1234567890 ½ ² Ⅷ ٣٤ 一二三",
    "crème brûlée cafe\u0301 İstanbul ǅ ß ﬁ",
    "the tea is 好喝, 但是 arrived 晚了!",
    "这款茶叶物美价廉，下次还买。快递太慢了！！！",
    "お茶 は おいしい 한국어도 ไทย العربية עברית हिन्दी",
    "I love it 😍😍 👩‍👩‍👧‍👦 🇨🇳 👍🏽 ☕️",
    "\x00\x01\x7f\x80\xad\ufeff\ufffd\uffff\U0010ffff\u200b\u200d",
    "aaaa aaaaa aaaaaaaaaaaaaaaaaaa",
    "<pad> <end> <mask> <pad><end>",
]
TEXTS = ["low low low low low", "lower lower", "newest newest newest", "wide"]


def hugging_face(tokenizer):
    """The same merges in the peer's hands."""
    # Its alphabet, sorted, stands for the bytes in GPT-2's order.
    names = [*tokenizer.special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pairs = []
    for left, right in tokenizer.merges:
        pairs.append((names[left], names[right]))
        names.append(names[left] + names[right])
    vocabulary = {name: i for i, name in enumerate(names)}
    assert len(vocabulary) == len(names)
    peer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    return peer


def trained_by_hugging_face(texts, vocab_size):
    """Pairs of ids in the order in which the peer learns them."""
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator(texts, trainer)
    model = json.loads(peer.to_str())["model"]
    ids = model["vocab"]
    return tuple((ids[left], ids[right]) for left, right in model["merges"])


@pytest.fixture(scope="module")
def reviews():
    return load_fine_food_reviews()


@pytest.fixture(scope="module")
def chinese():
    return load_chinese_reviews()


@pytest.fixture(scope="module")
def english(reviews):
    return BytePairTokenizer.train(reviews.train.text, 4096)


@pytest.fixture(scope="module")
def small(reviews):
    return BytePairTokenizer.train(reviews.train.text[:200], 512)


# Worked example -------------------------------------------------------------------


def test_worked_example():
    tokenizer = BytePairTokenizer.train(["aaabdaaabac"], FIRST_MERGE + 3)
    a, b = FIRST_BYTE + ord("a") - 33, FIRST_BYTE + ord("b") - 33  # "!" is the first
    # aa 4 times; then a new letter Z = aa: Za 2, ab 2 (the smaller ids); then Zab 2
    assert tokenizer.merges == ((a, a), (a, b), (259, 260))
    assert tokenizer.tokens[-3:] == (b"aa", b"ab", b"aaab")
    assert tokenizer.encode("aaabab") == [261, 260]
    assert tokenizer.decode([261, 260]) == "aaabab"
    assert len(tokenizer) == 262


def test_ties_go_to_the_smaller_ids():
    # ab and cd occur once in each text, and so do no other pairs
    tokens = BytePairTokenizer.train(["cd", "ab"], FIRST_MERGE + 2).tokens
    assert tokens[-2:] == (b"ab", b"cd")


def test_pairs_are_counted_within_words():
    tokenizer = BytePairTokenizer.train(["x y x y x y"], FIRST_MERGE + 9)
    assert tokenizer.tokens[FIRST_MERGE:] == (b" y", b" x")  # and no b"x y"


def test_training_stops_when_no_pair_is_left():
    tokenizer = BytePairTokenizer.train(["ab", "a"], 4096)
    assert len(tokenizer) == FIRST_MERGE + 1


def test_ids_run_special_bytes_merges():
    tokenizer = BytePairTokenizer()
    assert len(tokenizer) == FIRST_MERGE
    assert (tokenizer.pad_id, tokenizer.end_id, tokenizer.mask_id) == (0, 1, 2)
    assert tokenizer.special == SPECIAL == ("<pad>", "<end>", "<mask>")
    assert tokenizer.tokens[:3] == (b"<pad>", b"<end>", b"<mask>")
    assert sorted(tokenizer.tokens[3:]) == [bytes([i]) for i in range(256)]
    assert tokenizer.tokens[3:5] == (b"!", b'"')
    assert tokenizer.tokens[3 + 187 : 3 + 190] == (b"\xff", b"\x00", b"\x01")


# Round trip -----------------------------------------------------------------------


@OFTEN
@given(text=st.text())
def test_round_trip(small, text):
    assert small.decode(small.encode(text)) == text


@OFTEN
@given(text=st.text(st.sampled_from("the ea\n'ts1.,茶叶😀é"), max_size=60))
def test_round_trip_of_what_merges(small, text):
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert min(ids, default=FIRST_BYTE) >= FIRST_BYTE


@pytest.mark.parametrize("text", HARD)
def test_round_trip_of_hard_strings(small, english, text):
    for tokenizer in (BytePairTokenizer(), small, english):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@OFTEN
@given(ids=st.lists(st.integers(0, 511), max_size=30))
def test_any_ids_decode(small, ids):
    text = small.decode(ids)
    whole = b"".join(small.tokens[i] for i in ids if i != small.pad_id)
    if "\ufffd" not in text:
        assert text.encode() == whole


def test_no_token_is_unknown_and_bytes_are_the_worst_case():
    bare = BytePairTokenizer()
    for text in HARD:
        assert len(bare.encode(text)) == len(text.encode())


def test_a_text_cannot_write_a_special_token(english):
    ids = english.encode("<pad> <end> <mask>")
    assert min(ids) >= FIRST_BYTE
    assert english.decode(ids) == "<pad> <end> <mask>"


def test_special_tokens_are_decoded_by_name_and_padding_is_left_out(english):
    ids = [*english.encode("tea"), 2, 1, 0, 0]
    assert english.decode(ids) == "tea<mask><end>"


@pytest.mark.parametrize("text", ["\ud83d", "tea \udc00!", "ab\udfff"])
def test_lone_surrogates_are_refused(small, text):
    place = next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")
    name = ascii(text[place]).replace("\\", r"\\")
    message = rf"lone surrogate, {name}, at place {place}: half a character"
    with pytest.raises(ValueError, match=message):
        small.encode(text)
    with pytest.raises(ValueError, match=message):
        BytePairTokenizer.train(["fine", text], 300)


def test_a_cut_character_becomes_the_replacement_character():
    bare = BytePairTokenizer()
    ids = bare.encode("茶!")  # three bytes and one
    assert bare.decode(ids[:2]) == "\ufffd"
    assert bare.decode(ids[1:]) == "\ufffd\ufffd!"


@pytest.mark.parametrize("bad", [-1, FIRST_MERGE])
def test_decode_refuses_an_id_outside(bad):
    with pytest.raises(ValueError, match=f"token id {bad} is outside.*from 0 to 258"):
        BytePairTokenizer().decode([5, bad])


# Against Hugging Face -------------------------------------------------------------


def test_same_ids_on_all_reviews(english, reviews):
    peer = hugging_face(english)
    texts = [*reviews.train.text, *reviews.test.text]
    assert len(texts) == 5000
    for text in texts:
        assert english.encode(text) == peer.encode(text).ids


def test_same_ids_on_chinese_reviews(chinese):
    texts = chinese.train.text.tolist()
    tokenizer = BytePairTokenizer.train(texts[:300], 1024)
    assert len(tokenizer) == 1024
    peer = hugging_face(tokenizer)
    for text in texts[:2000]:
        ids = tokenizer.encode(text)
        assert ids == peer.encode(text).ids
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", HARD)
def test_same_ids_on_hard_strings(english, text):
    assert english.encode(text) == hugging_face(english).encode(text).ids


@SOMETIMES
@given(text=st.text(GIVEN_OUT))
def test_same_ids_on_any_text(small, text):
    assert small.encode(text) == hugging_face(small).encode(text).ids


@SOMETIMES
@given(ids=st.lists(st.integers(FIRST_BYTE, 511), max_size=12))
def test_same_text_from_any_ids(small, ids):
    assert small.decode(ids) == hugging_face(small).decode(ids)


def test_same_merges_on_the_reviews(english, reviews):
    texts = reviews.train.text.tolist()
    assert len(english) == 4096
    assert english.merges == trained_by_hugging_face(texts, 4096)


def test_same_merges_on_chinese_reviews(chinese):
    texts = chinese.train.text.tolist()[:300]
    ours = BytePairTokenizer.train(texts, 1024).merges
    assert len(ours) == 1024 - FIRST_MERGE
    assert ours == trained_by_hugging_face(texts, 1024)


@SOMETIMES
@given(
    texts=st.lists(st.text("ab ", min_size=1, max_size=30), min_size=1, max_size=8),
    n_merges=st.integers(1, 40),
)
def test_same_merges_on_any_texts(texts, n_merges):
    ours = BytePairTokenizer.train(texts, FIRST_MERGE + n_merges).merges
    assert ours == trained_by_hugging_face(texts, FIRST_MERGE + n_merges)


# Against the plain loops ----------------------------------------------------------


def replace(word, pair, new):
    """Replace each occurrence of a pair, from left to right."""
    out = []
    for i in word:
        if out and (out[-1], i) == pair:
            out[-1] = new
        else:
            out.append(i)
    return out


@SOMETIMES
@given(
    words=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=6
    ),
    frequency=st.lists(st.integers(1, 4), min_size=6, max_size=6),
)
def test_learning_equals_recounting_at_every_merge(words, frequency):
    frequency = frequency[: len(words)]
    expected, recounted = [], words
    for new in range(3, 23):
        counts = Counter()
        for word, n in zip(recounted, frequency, strict=True):
            for pair in pairwise(word):
                counts[pair] += n
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        expected.append(best)
        recounted = [replace(word, best, new) for word in recounted]
    before = [list(word) for word in words]
    assert learn_merges(words, frequency, 3, 20) == expected
    assert words == before, "the words that were handed in have changed"


@SOMETIMES
@given(ids=st.lists(st.integers(0, 2), max_size=40), seed=st.randoms())
def test_applying_equals_one_merge_after_another(ids, seed):
    merged = {}
    for new in range(3, 15):
        merged[seed.randrange(new), seed.randrange(new)] = new
    expected = ids
    for pair, new in sorted(merged.items(), key=lambda item: item[1]):
        expected = replace(expected, pair, new)
    assert apply_merges(ids, merged) == expected


def test_a_word_of_200_000_letters_is_no_trap(small):
    text = "thetea" * 33_333
    assert small.decode(small.encode(text)) == text


# State, file, refusals ------------------------------------------------------------


def test_a_result_can_be_changed_without_harm(small):
    first = small.encode("tea")
    first.append(0)
    assert small.encode("tea") == first[:-1]


def test_the_cache_is_bounded(small, monkeypatch):
    module = "marketllm.tokenizer.byte_pair._CACHE_SIZE"
    tokenizer = BytePairTokenizer(small.merges)
    monkeypatch.setattr(module, 3)
    for text in ("one two three", "four five six seven", "one two three"):
        assert tokenizer.encode(text) == small.encode(text)
        assert len(tokenizer._cache) <= 3


def test_more_special_tokens():
    special = (*SPECIAL, "<ana>", "<shop>")
    plain = BytePairTokenizer.train(TEXTS, 280)
    more = BytePairTokenizer.train(TEXTS, 282, special)
    assert more.special == special
    assert more.encode("lower") == [i + 2 for i in plain.encode("lower")]
    assert more.decode([3, *more.encode("newest"), 4]) == "<ana>newest<shop>"


def test_save_and_load(english, tmp_path):
    path = tmp_path / "reviews.json"
    path.write_text("something older")
    english.save(path)
    loaded = BytePairTokenizer.load(str(path))
    assert loaded.merges == english.merges
    assert loaded.tokens == english.tokens
    assert loaded.special == english.special
    assert [loaded.encode(text) for text in HARD] == [english.encode(t) for t in HARD]
    assert os.listdir(tmp_path) == ["reviews.json"]


def test_special_tokens_are_saved(tmp_path):
    tokenizer = BytePairTokenizer.train(TEXTS, 282, (*SPECIAL, "<ana>"))
    tokenizer.save(tmp_path / "t.json")
    assert BytePairTokenizer.load(tmp_path / "t.json").tokens == tokenizer.tokens


def test_it_can_be_pickled(small):
    assert pickle.loads(pickle.dumps(small)).encode("tea") == small.encode("tea")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    old = BytePairTokenizer.train(TEXTS, 270)
    old.save(path)

    def disk_full(content, file):
        file.write('{"format": "mark')
        raise OSError("no space left")

    monkeypatch.setattr(json, "dump", disk_full)
    with pytest.raises(OSError, match="no space left"):
        BytePairTokenizer.train(TEXTS, 280).save(path)
    assert BytePairTokenizer.load(path).merges == old.merges
    assert os.listdir(tmp_path) == ["t.json"]


def test_the_new_file_takes_its_place_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    old, new = (BytePairTokenizer.train(TEXTS, size) for size in (270, 280))
    old.save(path)
    seen = []

    def power_cut(source, target):
        seen.append((BytePairTokenizer.load(source).merges, target))
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        new.save(path)
    assert seen == [(new.merges, path)]  # it was whole before it was put there
    assert BytePairTokenizer.load(path).merges == old.merges
    assert os.listdir(tmp_path) == ["t.json"]


def test_load_refuses_every_torn_file(tmp_path):
    path = tmp_path / "t.json"
    BytePairTokenizer.train(TEXTS, 262).save(path)
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"t\.json is not whole, or not JSON"):
            BytePairTokenizer.load(path)


def content(**changes):
    right = {
        "format": "marketllm byte-pair encoding",
        "version": 1,
        "special": list(SPECIAL),
        "merges": [[3, 4], [259, 3]],
    }
    return {key: value for key, value in (right | changes).items() if value != "-"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"\xff\xfe{}", "is not whole, or not JSON"),
        (b"[" * 100_000, "is not whole, or not JSON"),
        ([1, 2], "is JSON, but not a tokenizer of this kind"),
        ({"model": {"type": "BPE"}}, "is JSON, but not a tokenizer of this kind"),
        (content(version=3), "has version 3 of the format, this package reads 1 and 2"),
        (content(version="-"), "has version None of the format"),
        (content(merges="-"), "holds no tokenizer .'merges'"),
        (content(merges=[[3, 4, 5]]), "holds no tokenizer"),
        (content(merges=[[3, "4"]]), "holds no tokenizer"),
        (content(merges=7), "holds no tokenizer"),
        (content(merges=[[3, 300]]), "holds no tokenizer .merge 0 is of the ids 3 and"),
        (content(special=["<pad>"]), "holds no tokenizer .the special tokens are"),
        (content(special=[*SPECIAL, 4]), "holds no tokenizer"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_load_refuses_what_is_not_its_own(tmp_path, written, message):
    path = tmp_path / "shop.json"
    if not isinstance(written, bytes):
        written = json.dumps(written).encode()
    path.write_bytes(written)
    with pytest.raises(ValueError, match=rf"shop\.json {message}"):
        BytePairTokenizer.load(path)


def test_the_right_content_loads(tmp_path):
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(content()))
    assert BytePairTokenizer.load(path).tokens[-1] == b'!"!'


def test_load_of_a_missing_file_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        BytePairTokenizer.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("part", [0, 2, 259, -1])
def test_a_merge_takes_ids_that_are_there(part):
    message = rf"merge 0 is of the ids {part} and 3, .*ids from 3 to 258"
    with pytest.raises(ValueError, match=message):
        BytePairTokenizer([(part, 3)])
    assert BytePairTokenizer([(3, 258), (259, 3)]).tokens[260] == b"!\xad!"


def test_a_merge_stands_once():
    with pytest.raises(ValueError, match="merge 1, of the ids 3 and 4, is there alr"):
        BytePairTokenizer([(3, 4), (3, 4)])


@pytest.mark.parametrize(
    "special", [(), ("<end>", "<pad>", "<mask>"), (*SPECIAL, "<pad>")]
)
def test_special_tokens_begin_with_ours_and_stand_once(special):
    with pytest.raises(ValueError, match="begin with .'<pad>', '<end>', '<mask>'. and"):
        BytePairTokenizer(special=special)


def test_train_refuses_no_room():
    with pytest.raises(
        ValueError, match="vocab_size is 258, and 3 special .*least 259"
    ):
        BytePairTokenizer.train(TEXTS, 258)
    assert len(BytePairTokenizer.train(TEXTS, 259)) == 259


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_train_refuses_no_text(texts):
    with pytest.raises(ValueError, match="the texts are empty: nothing to learn"):
        BytePairTokenizer.train(texts, 300)


def test_train_refuses_one_string():
    with pytest.raises(ValueError, match="texts is one string: give a list of texts"):
        BytePairTokenizer.train("the tea", 300)


def test_a_missing_text_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="a text is nan, of type float: give texts"):
        BytePairTokenizer().encode(float("nan"))
