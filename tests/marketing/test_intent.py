"""Purchase intent: histories in, chances out, and a look at one customer."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from marketllm.evaluation import auc
from marketllm.marketing import HistoryTokenizer, PurchaseIntent

KINDS = ("transformer", "rnn", "lstm")
TINY = {"d_model": 8, "n_heads": 2, "dropout": 0.0, "learning_rate": 0.01}
NO_GAPS = HistoryTokenizer(gaps=False)
UNTIL = "1997-03-31"


def planted(n, seed):
    """Who had an offer buys if he is young. The rest is noise."""
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "customer": [f"{seed}-{i}" for i in range(n)],
            "young": rng.choice(["yes", "no"], n),
        }
    )
    who = np.repeat(np.arange(n), 3)
    kinds = rng.choice(["visit", "search"], (n, 3))
    offered = rng.random(n) < 0.6
    kinds[offered, rng.integers(0, 3, offered.sum())] = "offer"
    events = pd.DataFrame(
        {
            "customer": customers["customer"].to_numpy()[who],
            "date": pd.Timestamp("1997-01-01")
            + pd.to_timedelta(np.tile([0, 20, 40], n), unit="D"),
            "kind": kinds.ravel(),
        }
    )
    labels = (offered & (customers["young"] == "yes")).to_numpy().astype(int)
    return customers, labels, events.sample(frac=1, random_state=seed)


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    customers, labels, events = planted(300, 0)
    model = PurchaseIntent(tokenizer=NO_GAPS, n_epochs=8, **TINY)
    return model.fit(customers, labels, events, UNTIL)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_truth_is_found(kind):
    customers, labels, events = planted(300, 0)
    others, truth, more = planted(200, 1)
    model = PurchaseIntent(kind, NO_GAPS, n_epochs=10, **TINY)
    model.fit(customers, labels, events, UNTIL)
    chances = model.predict_proba(others, more, UNTIL)
    assert auc(truth, chances[:, 1]) > 0.95
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    expected = model.classes_[chances.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(others, more, UNTIL), expected)
    assert len(model.classifier_.history_.to_frame()) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_give_chance(kind):
    customers, labels, events = planted(200, 0)
    others, truth, more = planted(600, 1)
    mixed = np.random.default_rng(3).permutation(labels)
    model = PurchaseIntent(kind, NO_GAPS, n_epochs=3, **TINY)
    model.fit(customers, mixed, events, UNTIL)
    # Six kinds of customers: what shuffling leaves by chance moves whole kinds, so
    # one AUC spreads by about 0.1.
    assert 0.25 < auc(truth, model.predict_proba(others, more, UNTIL)[:, 1]) < 0.75


def test_attention_shows_one_customer(fitted):
    customers, _, events = planted(300, 0)
    one = customers[7:8]
    tokens, weights = fitted.attention(one, events, UNTIL)
    assert tokens[0] == f"young={one['young'].iloc[0]}"
    own = events[events["customer"] == one["customer"].iloc[0]].sort_values("date")
    assert tokens[1:] == [*own["kind"], "quiet 7 weeks"]
    assert weights.shape == (1, 2, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 5))
    assert weights.std() > 0.001
    other, _ = fitted.attention(customers[8:9], events, UNTIL)
    assert other != tokens
    with pytest.raises(ValueError, match="300 rows: give the 1 to be looked at"):
        fitted.attention(customers, events, UNTIL)


def test_a_customer_does_not_depend_on_the_others(fitted):
    others, _, events = planted(30, 2)
    whole = fitted.predict_proba(others, events, UNTIL)
    order = np.random.default_rng(0).permutation(30)
    mixed = fitted.predict_proba(others.iloc[order], events, UNTIL)
    np.testing.assert_allclose(mixed, whole[order], atol=1e-6)
    own = events[events["customer"] == others["customer"][4]]
    alone = fitted.predict_proba(others[4:5], own, UNTIL)
    np.testing.assert_allclose(alone, whole[4:5], atol=1e-6)
    assert whole[:, 1].std() > 0.1


def test_label_and_number_are_never_read(fitted):
    others, labels, events = planted(30, 2)
    expected = fitted.predict_proba(others, events, UNTIL)
    told = others.assign(customer="n" + others["customer"], label=labels)
    moved = events.assign(customer="n" + events["customer"])
    found = fitted.predict_proba(told, moved, UNTIL)
    np.testing.assert_array_equal(found, expected)


def test_validation_keeps_the_best_epoch():
    customers, labels, events = planted(120, 0)
    train, held = customers[:80], customers[80:]
    model = PurchaseIntent(tokenizer=NO_GAPS, n_epochs=3, seed=4, **TINY)
    model.fit(train, labels[:80], events, UNTIL, (held, labels[80:]))
    losses = model.classifier_.history_.to_frame()["validation_loss"]
    assert losses.notna().all()
    # The held rows teach nothing: other events of theirs, the same tokens.
    other = events.assign(
        kind=events["kind"].where(events["customer"].isin(train["customer"]), "new")
    )
    again = clone(model).fit(train, labels[:80], other, UNTIL)
    assert again.tokenizer_.names_ == model.tokenizer_.names_
    plain = clone(model).fit(train, labels[:80], events, UNTIL)
    np.testing.assert_array_equal(
        again.predict_proba(train, other, UNTIL),
        plain.predict_proba(train, events, UNTIL),
    )


def test_no_history_and_new_things_have_a_chance_too(fitted):
    customers, _, events = planted(3, 9)
    strange = customers.assign(young=[None, "perhaps", "yes"])
    chances = fitted.predict_proba(strange, events[:0], UNTIL)
    assert np.isfinite(chances).all()
    tokens, weights = fitted.attention(strange[:1], events[:0], UNTIL)
    assert tokens == ["young=missing", "no events"]
    assert weights.shape == (1, 2, 2, 2)


def test_it_works_without_events_and_keeps_its_settings():
    customers, labels, _ = planted(40, 0)
    model = PurchaseIntent("lstm", n_epochs=1, d_model=8, seed=3)
    assert clone(model).get_params(deep=False) == model.get_params(deep=False)
    model.set_params(d_model=4, tokenizer=HistoryTokenizer(), tokenizer__n_bins=3)
    assert model.get_params()["d_model"] == 4
    assert model.get_params()["tokenizer__n_bins"] == 3
    assert "d_model=4" in repr(model)
    before = model.tokenizer
    first = model.fit(customers, labels).predict_proba(customers)
    second = clone(model).fit(customers, labels).predict_proba(customers)
    np.testing.assert_array_equal(first, second)
    assert model.tokenizer is before
    assert not hasattr(before, "names_")  # only a copy of it is fitted
    with pytest.raises(ValueError, match="kind is 'lstm', which has no attention"):
        model.attention(customers[:1])


def test_what_it_cannot_forecast_is_refused(fitted):
    customers, labels, events = planted(20, 0)
    with pytest.raises(ValueError, match="until is None, but training had a day"):
        fitted.predict_proba(customers, events)
    with pytest.raises(ValueError, match="events are later than until=1997-01-31"):
        fitted.predict_proba(customers, events, "1997-01-31")
    with pytest.raises(ValueError, match="training had some"):
        fitted.predict_proba(customers, until=UNTIL)
    with pytest.raises(ValueError, match="customers have 0 rows"):
        fitted.predict_proba(customers[:0], events, UNTIL)
    with pytest.raises(NotFittedError):
        PurchaseIntent().predict_proba(customers)
    with pytest.raises(ValueError, match="labels hold 1 classes, expected 2"):
        PurchaseIntent(**TINY).fit(customers, np.ones(20, dtype=int))
    with pytest.raises(ValueError, match="later than until=1997-01-31"):
        PurchaseIntent(**TINY).fit(customers, labels, events, "1997-01-31")
    with pytest.raises(ValueError, match="19 labels|labels"):
        PurchaseIntent(**TINY).fit(customers, labels[:19])
    with pytest.raises(TypeError, match="width"):
        PurchaseIntent(width=8).fit(customers, labels)
