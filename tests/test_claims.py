"""What the claims ledger says of an experiment is what its file of results says."""

import re
from pathlib import Path

import numpy as np
import pytest

from marketllm.evaluation import mean_interval
from marketllm.experiments import load

LEDGER = (Path(__file__).parents[1] / "book" / "claims.md").read_text("utf8")
SHORT = {"lightgbm": "LightGBM", "tfidf_logistic_regression": "TF-IDF"}


def results(name):
    return {title: run["result"] for title, run in load(name)["runs"].items()}


def shown(value, digits=3, sign=False):
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "−")


def triple(ends, digits=3, times=1, sign=False, word=""):
    """Write an estimate and its interval as the ledger does."""
    middle, low, high = (shown(times * end, digits, sign) for end in ends)
    return f"{middle} ({word}{low} to {high}"


def over_seeds(values, digits=3, sign=False, word="95% interval "):
    found = mean_interval(values)
    low, high = shown(found.low, digits), shown(found.high, digits)
    return f"{shown(found.estimate, digits, sign)} ({word}{low} to {high}"


def verdict():
    """K1: every comparison that is told, and the fresh customers."""
    found = results("verdict")
    for model, data in (
        *(("transformer", name) for name in ("fine_food", "chinese", "cdnow")),
        *(("transformer", name) for name in ("churn", "caravan", "simulated")),
        ("minilm_tuned", "fine_food"),
        ("minilm_frozen", "fine_food"),
    ):
        start = f"{data}/{model} minus "
        (title,) = (name for name in found if name.startswith(start))
        middle, low, high = (shown(end) for end in found[title]["auc"])
        p = found["holm"]["p"][title]
        sign = "" if middle.startswith("−") else "+"
        said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        interval = f"95% interval {low} to {high}; {said} after correction"
        best = SHORT[title.split(" minus ")[1]]
        yield f"{sign}{middle} ({interval}) against {best}"
    runs = results("customers")
    auc = {
        model: np.mean([runs[f"fresh/{model}/{seed}"]["auc"] for seed in range(n)])
        for model, n in (
            *(("transformer", 5), ("lightgbm", 1)),
            *(("logistic_regression", 1), ("ceiling", 1)),
        )
    }
    yield (
        f"the Transformer has {auc['transformer']:.3f} where LightGBM has "
        f"{auc['lightgbm']:.3f}, logistic regression {auc['logistic_regression']:.3f} "
        f"and the ceiling is {auc['ceiling']:.3f}"
    )


def distance():
    """K2: accuracies by distance."""
    found = results("distance")["summary"]
    model = "transformer, rotary"
    far = triple(found[f"{model}/32"]["accuracy"], word="95% interval over seeds ")
    near = found[f"{model}/4"]["accuracy"][0]
    yield f"reaches {near:.3f} four events apart and {far}"
    means = [found[f"{model}/{gap}"]["accuracy"][0] for gap in (1, 12)]
    yield "the means are {:.3f} and {:.3f}".format(*means)
    near, four = (found[f"lstm/{gap}"]["accuracy"][0] for gap in (1, 4))
    yield f"An LSTM has {near:.3f} at distance 1, {four:.3f} at distance 4"


def data_quality():
    """K3: what faults cost."""
    found = {
        name: run.get("difference") for name, run in results("data_quality").items()
    }
    inflation = triple(found["chinese"]["inflation, tfidf"], 1, 100)
    yield f"flatters it by {inflation.replace(' (', ' points (')}"
    key = "logistic/row above minus median of train/gaps"
    middle, low, high = (-100 * end for end in found["gaps/0.3, at random"][key])
    yield f"{middle:.1f} points of AUC ({high:.1f} to {low:.1f})"


def improving():
    """K4: curves, searches, pretraining."""
    found = results("improving")
    for title, word in (
        ("tfidf, 100 labels", "95% interval "),
        ("tfidf, 400 labels", ""),
    ):
        yield triple(found[f"summary/{title}"]["auc"], word=word)
    for title in ("tfidf, 1000 labels", "scratch, 4000 labels"):
        yield triple(found[f"summary/{title}"]["auc"])
    for title in (
        *("chosen minus default", "few: chosen minus default"),
        *("few: more minus default", "pretrained minus scratch, 4000 labels"),
        "pretrained minus scratch, 400 labels",
    ):
        ends = found[f"summary/{title}"]["auc"]
        middle, *reach = triple(ends, 1, 100, sign=True).split(" (")
        points = f"{middle} points ({reach[0]}", f"{middle} ({reach[0]}"
        yield points
    tuned = results("minilm")
    yield over_seeds([tuned[f"4000 labels/{s}"]["auc"][0] for s in range(5)], word="")


def heads():
    """K5: heads at one width."""
    found = results("improving")
    for title in ("1 heads, reviews", "4 heads, reviews", "16 heads, reviews"):
        word = "95% interval " if title.startswith("1 ") else ""
        yield triple(found[f"summary/{title}"]["auc"], word=word)
    for title in ("2 heads, customers", "8 heads, customers"):
        yield triple(found[f"summary/{title}"]["auc"])


def targeting():
    """K17: dollars for 1,000 customers."""
    found = results("targeting")
    for name in (
        *("known/random", "known/true_response", "coin/transformer/response"),
        *("coin/lightgbm/response", "coin/attributes/doubly_robust"),
        "coin/transformer/doubly_robust",
    ):
        profit = [1000 * found[f"{name}/{seed}"]["profit"] for seed in range(5)]
        interval = mean_interval(profit)
        ends = (interval.estimate, interval.low, interval.high)
        middle, low, high = (f"{end:.0f}".replace("-", "−") for end in ends)
        sign = "+" if interval.estimate > 0 else ""
        dollars = " dollars per 1,000 customers" if name == "known/random" else ""
        yield f"{sign}{middle}{dollars} (95% interval {low} to {high}"


def service():
    """K19: search, answers, attacks."""
    found = results("service")
    yield triple(found["search/meaning"]["recall@5"], 2, word="95% interval ")
    for way in ("words", "both"):
        yield triple(found[f"search/{way}"]["recall@5"], 2)
    share = found["answers"]["share"]
    for way in ("meaning, quoted", "Llama, unchecked", "Llama, checked"):
        yield triple(share[way], 2)
    pair = "Llama, checked minus meaning, quoted"
    ends = triple(found["answers/compared"]["difference"][pair])
    p = found["answers/compared"]["p"][pair]
    yield f"{ends}; p = {p:.3f} after correction)"
    runs = {way: found[f"attacks/{way}"] for way in ("nothing", "prompt", "login")}
    won = {way: run["n_succeeded"] for way, run in runs.items()}
    for way in ("code", "never refuses"):
        assert found[f"attacks/{way}"]["n_succeeded"] == 0
    yield (
        f"Of {len(runs['nothing']['succeeded'])} attacks, {won['nothing']} succeed "
        f"against a careless program, {won['prompt']} against the same program under a "
        f"prompt that forbids them, {won['login']} once records are looked up by the "
        "login alone, and none against the whole guard, nor against the guard with its "
        "refusals switched off"
    )


PHRASES = {
    "k1": verdict,
    "k2": distance,
    "k3": data_quality,
    "k4": improving,
    "k5": heads,
    "k17": targeting,
    "k19": service,
}


@pytest.mark.parametrize("claim", PHRASES)
def test_the_ledger_repeats_the_results(claim):
    pattern = rf"\(claims-{claim}\)=\n.*?(?=\n\(claims-|\Z)"
    entry = re.search(pattern, LEDGER, re.S)[0]
    for phrase in PHRASES[claim]():
        ways = (phrase,) if isinstance(phrase, str) else phrase
        assert any(way in entry for way in ways), ways
