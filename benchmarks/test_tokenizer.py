"""How fast byte-pair encoding is, as ratios against peers in the same run.

Run it on a quiet machine: ``python -m pytest benchmarks -s``. Each time is the
shortest of several runs; those that take turns share the noise of the machine.

Encoding is faster than Hugging Face's only in this sense: the peer also tells where
in the text each token stands, and hands its results from Rust to Python.
"""

from collections import Counter
from itertools import pairwise
from time import perf_counter, process_time

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from marketllm.datasets import load_fine_food_reviews
from marketllm.tokenizer import SPECIAL, BytePairTokenizer
from marketllm.tokenizer.byte_pair import _split

N_CHARACTERS = 200_000
N_MERGES = 256
FIRST_MERGE = 259
REPEATS = 5


@pytest.fixture(scope="module")
def reviews():
    return load_fine_food_reviews().train.text.tolist()


@pytest.fixture(scope="module")
def corpus(reviews):
    """The first 200,000 characters of the reviews."""
    texts, room = [], N_CHARACTERS
    for text in reviews:
        texts.append(text[:room])
        room -= len(texts[-1])
        if not room:
            return texts
    raise ValueError("the reviews are too short")


def shortest(repeats, clock=perf_counter, **candidates):
    """Seconds of each candidate: they take turns, and the best turn counts."""
    seconds = dict.fromkeys(candidates, float("inf"))
    for _ in range(repeats):
        for name, run in candidates.items():
            start = clock()
            run()
            seconds[name] = min(seconds[name], clock() - start)
    return seconds


def tell(title, seconds, ours="ours"):
    print(f"\n{title}")
    for name, time in seconds.items():
        ratio = time / seconds[ours]
        print(f"  {name:<34} {time:8.3f} s   {ratio:6.2f} times ours")


# The plain loop: count all pairs, merge the first, and again from the start ---------


def replace(word, pair, new):
    """Replace each occurrence of a pair, from left to right."""
    if pair[0] not in word:
        return word
    out, i = [], 0
    while i < len(word):
        if word[i] == pair[0] and i + 1 < len(word) and word[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def recount(words, frequency, n_merges):
    merges = []
    for new in range(FIRST_MERGE, FIRST_MERGE + n_merges):
        counts = Counter()
        for word, n in zip(words, frequency, strict=True):
            for pair in pairwise(word):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        words = [replace(word, best, new) for word in words]
        merges.append(best)
    return tuple(merges)


def recount_text(texts, n_merges):
    """Every word of the text, as often as it stands there."""
    bare = BytePairTokenizer()
    words = [bare._bytes_of(word) for text in texts for word in _split(text)]
    return recount(words, [1] * len(words), n_merges)


def recount_distinct(texts, n_merges):
    """Every distinct word once, with its frequency."""
    bare = BytePairTokenizer()
    frequency = Counter(word for text in texts for word in _split(text))
    words = [bare._bytes_of(word) for word in frequency]
    return recount(words, list(frequency.values()), n_merges)


def train_hugging_face(texts, vocab_size):
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator(texts, trainer)
    return peer


def hugging_face(tokenizer):
    """The peer with our merges, and an empty cache."""
    names = [*tokenizer.special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pairs = []
    for left, right in tokenizer.merges:
        pairs.append((names[left], names[right]))
        names.append(names[left] + names[right])
    vocabulary = {name: i for i, name in enumerate(names)}
    peer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return peer


def with_threads(monkeypatch, allowed, run):
    """Run with or without the peer's threads; it reads this at each call."""

    def wrapped():
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true" if allowed else "false")
        return run()

    return wrapped


# The bounds -------------------------------------------------------------------------


def test_training_is_20_times_as_fast_as_recounting(corpus):
    assert sum(map(len, corpus)) == N_CHARACTERS
    vocab_size = FIRST_MERGE + N_MERGES
    merges = {}

    def ours():
        merges["ours"] = BytePairTokenizer.train(corpus, vocab_size).merges

    def text():
        merges["text"] = recount_text(corpus, N_MERGES)

    def distinct():
        merges["distinct"] = recount_distinct(corpus, N_MERGES)

    # One turn of the slow ones has to do: seconds of the processor, not of the wall.
    seconds = shortest(REPEATS, process_time, ours=ours)
    seconds |= shortest(1, process_time, **{"recounting the text": text})
    seconds |= shortest(1, process_time, **{"recounting distinct words": distinct})
    tell(f"Training: {N_CHARACTERS:,} characters, {N_MERGES} merges", seconds)
    assert len(merges["ours"]) == N_MERGES
    assert merges["ours"] == merges["text"] == merges["distinct"]
    assert seconds["recounting the text"] >= 20 * seconds["ours"]
    assert seconds["recounting distinct words"] >= 10 * seconds["ours"]


def test_training_is_within_10_times_of_hugging_face(corpus, monkeypatch):
    vocab_size = FIRST_MERGE + N_MERGES

    def peer():
        return train_hugging_face(corpus, vocab_size)

    seconds = shortest(
        REPEATS,
        ours=lambda: BytePairTokenizer.train(corpus, vocab_size),
        **{
            "Hugging Face, one thread": with_threads(monkeypatch, False, peer),
            "Hugging Face, its threads": with_threads(monkeypatch, True, peer),
        },
    )
    tell(f"Training: {N_CHARACTERS:,} characters, {N_MERGES} merges", seconds)
    assert peer().get_vocab_size() == vocab_size
    assert seconds["ours"] <= 10 * min(seconds.values())


def test_training_on_all_reviews_is_within_10_times_of_hugging_face(
    reviews, monkeypatch
):
    def peer():
        return train_hugging_face(reviews, 4096)

    seconds = shortest(
        2,
        ours=lambda: BytePairTokenizer.train(reviews, 4096),
        **{
            "Hugging Face, one thread": with_threads(monkeypatch, False, peer),
            "Hugging Face, its threads": with_threads(monkeypatch, True, peer),
        },
    )
    n = sum(map(len, reviews))
    tell(f"Training: {n:,} characters, vocabulary of 4,096", seconds)
    assert seconds["ours"] <= 10 * min(seconds.values())


def test_encoding_is_within_10_times_of_hugging_face(reviews, monkeypatch):
    trained = BytePairTokenizer.train(reviews, 4096)
    result = {}

    def ours():
        fresh = BytePairTokenizer(trained.merges)  # with an empty cache
        result["ours"] = [fresh.encode(text) for text in reviews]

    def one_by_one():
        peer = hugging_face(trained)
        result["peer"] = [peer.encode(text).ids for text in reviews]

    def batch():
        peer = hugging_face(trained)
        result["batch"] = [e.ids for e in peer.encode_batch_fast(reviews)]

    seconds = shortest(
        3,
        ours=ours,
        **{
            "Hugging Face, encode": with_threads(monkeypatch, False, one_by_one),
            "Hugging Face, batch, one thread": with_threads(monkeypatch, False, batch),
            "Hugging Face, batch, its threads": with_threads(monkeypatch, True, batch),
        },
    )
    n = sum(map(len, reviews))
    tell(f"Encoding: {n:,} characters, vocabulary of 4,096", seconds)
    assert n > 1_500_000
    assert result["ours"] == result["peer"] == result["batch"]
    assert seconds["ours"] <= 10 * min(seconds.values())
