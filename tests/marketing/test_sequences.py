"""A network over token ids as an estimator: it learns, it is fair, it refuses."""

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.base import clone

from marketllm.evaluation import auc
from marketllm.marketing import SequenceClassifier

KINDS = ("transformer", "rnn", "lstm")
TINY = {"vocab_size": 9, "max_len": 7, "d_model": 8, "n_heads": 2, "n_epochs": 6}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def planted(n, seed=0, length=6):
    """The class is whether id 3 is there; other ids are noise."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(4, 9, size=(n, length))
    labels = generator.integers(2, size=n)
    places = generator.integers(length, size=n)
    ids[np.arange(n), places] = np.where(labels == 1, 3, 2)
    return ids.tolist(), labels


def in_order(n, seed=0, length=6):
    """The class is whether 2 stands before 3: both are always there."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(4, 9, size=(n, length))
    labels = generator.integers(2, size=n)
    for row, label in zip(ids, labels, strict=True):
        first, second = np.sort(generator.choice(length, 2, replace=False))
        row[first], row[second] = (2, 3) if label else (3, 2)
    return ids.tolist(), labels


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_a_planted_token(kind):
    model = SequenceClassifier(kind=kind, **TINY | {"n_epochs": 20})
    model.fit(*planted(600))
    others, labels = planted(400, seed=1)
    probabilities = model.predict_proba(others)
    assert auc(labels, probabilities[:, 1]) > 0.98
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert model.seconds_ > 0
    assert (model.predict(others) == probabilities.argmax(axis=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_give_chance(kind):
    """Labels shuffled before the split: what is left to learn is luck."""
    ids, labels = planted(2600)
    shuffled = np.random.default_rng(5).permutation(labels)
    model = SequenceClassifier(kind=kind, **TINY).fit(ids[:600], shuffled[:600])
    scores = model.predict_proba(ids[600:])[:, 1]
    # The standard error of an AUC at chance with 1,000 a class is 0.013.
    assert abs(auc(shuffled[600:], scores) - 0.5) < 4 * 0.013


def test_without_positions_order_is_invisible():
    settings = TINY | {"n_epochs": 25, "d_model": 16, "dropout": 0.0}
    others, labels = in_order(600, seed=1)
    reached = {}
    for positions in ("none", "rotary", "learned"):
        model = SequenceClassifier(positions=positions, **settings)
        model.fit(*in_order(1000))
        reached[positions] = auc(labels, model.predict_proba(others)[:, 1])
    assert abs(reached["none"] - 0.5) < 0.09
    assert min(reached["rotary"], reached["learned"]) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_fixes_all_and_nothing_outside_is_moved(kind):
    data = planted(100)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = SequenceClassifier(kind=kind, **TINY).fit(*data).predict_proba(data[0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    second = SequenceClassifier(kind=kind, **TINY).fit(*data).predict_proba(data[0])
    other = SequenceClassifier(kind=kind, **TINY, seed=1).fit(*data)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other.predict_proba(data[0])).max() > 1e-3


def test_a_sequence_is_scored_alone_and_in_its_place():
    data = planted(80)
    model = SequenceClassifier(**TINY).fit(*data)
    mixed = [data[0][0], data[0][1][:2], data[0][2][:4], data[0][3]]
    together = model.predict_proba(mixed)
    alone = np.vstack([model.predict_proba([ids]) for ids in mixed])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.ptp(together[:, 1]) > 1e-3


def test_pretraining_reads_no_label_and_lowers_its_loss():
    ids, labels = planted(300)
    settings = TINY | {"n_pretraining": 12, "n_epochs": 1}
    first = SequenceClassifier(**settings).fit(ids, labels)
    second = SequenceClassifier(**settings).fit(ids, 1 - labels)
    losses = first.pretraining_.to_frame()["train_loss"]
    assert losses.equals(second.pretraining_.to_frame()["train_loss"])
    assert losses.iloc[-1] < losses.iloc[0] - 0.05
    assert SequenceClassifier(**TINY).fit(ids, labels).pretraining_ is None


def test_pretraining_starts_the_classifier():
    ids, labels = planted(300)
    rate = 1e-9  # so that the weights stay where pretraining left them
    settings = TINY | {"n_epochs": 1, "learning_rate": rate, "weight_decay": 0.0}
    plain = SequenceClassifier(**settings).fit(ids, labels)
    moved = SequenceClassifier(**settings, n_pretraining=3).fit(ids, labels)
    weights = [model.model_.encoder.embedding.tokens.weight for model in (plain, moved)]
    assert (weights[0] - weights[1]).abs().max() > 1e-2


def test_validation_keeps_the_best_epoch():
    data, others = planted(60), planted(60, seed=1)
    settings = TINY | {"n_epochs": 30, "learning_rate": 0.03, "dropout": 0.0}
    ids, labels = data
    noisy = np.where(np.random.default_rng(0).random(60) < 0.4, 1 - labels, labels)
    model = SequenceClassifier(**settings).fit(ids, noisy, validation=others)
    losses = model.history_.to_frame()["validation_loss"]
    assert model.history_.best_epoch == losses.idxmin() < 30


def test_any_two_classes_do():
    ids, labels = planted(400)
    names = np.array(["stays", "buys"])[labels]
    model = SequenceClassifier(**TINY).fit(ids, names)
    assert model.classes_.tolist() == ["buys", "stays"]
    assert np.mean(model.predict(ids) == names) > 0.95


def test_it_can_be_cloned():
    model = SequenceClassifier(**TINY, kind="lstm")
    assert clone(model).get_params() == model.get_params()


def test_long_sequences_are_cut():
    ids, labels = planted(100)
    model = SequenceClassifier(**TINY).fit([row * 3 for row in ids], labels)
    long = model.predict_proba([ids[0] + [4] * 40])
    np.testing.assert_array_equal(long, model.predict_proba([ids[0] + [4]]))


@pytest.fixture
def unchecked():
    """Let our own refusals speak, not the type checker's."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({}, {"labels": [1] * 40}, "1 classes, expected 2"),
        ({}, {"labels": [0, 1, 2, 2] * 10}, "3 classes, expected 2"),
        ({}, {"labels": [0, 1]}, "40 sequences but 2 labels"),
        ({}, {"sequences": [[]] * 40}, "has no token"),
        ({}, {"sequences": [[11, 2]] * 40}, "11"),
        ({}, {"validation": ([[3]], [7])}, "7, which is none of the classes"),
        ({"kind": "gru"}, {}, "kind is 'gru'"),
        ({"n_pretraining": -1}, {}, "n_pretraining is -1"),
        ({"n_pretraining": 1, "kind": "rnn"}, {}, "only the transformer sees"),
        ({"embedding_std": 0.0}, {}, "embedding_std is 0.0"),
        ({"n_heads": 3}, {}, "n_heads=3 does not divide"),
    ],
)
def test_bad_input_is_refused(settings, change, message):
    ids, labels = planted(40)
    given = {"sequences": ids, "labels": labels} | change
    with pytest.raises(ValueError, match=message):
        SequenceClassifier(**TINY | settings).fit(**given)


def test_no_prediction_before_the_fit_and_none_for_nothing():
    model = SequenceClassifier(**TINY)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict_proba([[3]])
    model.fit(*planted(40))
    with pytest.raises(ValueError, match="no examples"):
        model.predict_proba([])
