"""Customer service: what is found, what is answered, what is given away.

The questions, their passages and their split were written down first. Validation
questions choose the thresholds for a refusal, the way of searching behind the model,
and the form in which the model is asked. All else was fixed before: BM25's and the
fusion's constants are the usual ones, and the model writes at most 40 tokens, greedily.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from marketllm.evaluation import holm, paired_bootstrap
from marketllm.experiments.applications import service_arms as arms
from marketllm.experiments.applications.service_answers import (
    answered,
    asked_of,
    assistant_of,
    interval,
    judge_form,
    mean_of,
    searcher,
)
from marketllm.experiments.applications.service_attacks import (
    ATTACKER,
    attacks,
    succeeds,
)
from marketllm.experiments.applications.service_questions import (
    messages_for_a_person,
    questions,
)
from marketllm.experiments.applications.service_scores import (
    find_threshold,
    overlap,
    refusals,
    title_scores,
)
from marketllm.experiments.frozen import weights_digest
from marketllm.experiments.runs import Experiment, Run
from marketllm.marketing.service import (
    handover_reason,
    llama_writer,
)
from marketllm.marketing.service.retrieval import _order

WAYS = ("words", "meaning", "both")
NEVER = -1.0  # the threshold under which no question is refused
RANKERS = ("first passage", "titles", *WAYS)


def _overlaps() -> dict[str, Any]:
    texts = {passage.id: passage.text for passage in arms.shop()[0]}
    shares = [overlap(q.text, texts[q.ids[0]]) for q in asked_of("test", "terms")]
    return {"shares": [round(share, 3) for share in shares]}


def _ranks(ranker: str, part: str = "test") -> dict[str, Any]:
    """Rank the right passage of each question that the terms answer."""
    passages = arms.shop()[0]
    places = {passage.id: i for i, passage in enumerate(passages)}
    ranks = []
    for question in asked_of(part, "terms"):
        if ranker == "first passage":
            scores = -np.arange(len(passages), dtype=float)
        elif ranker == "titles":
            scores = title_scores(question.text, passages)
        else:
            scores = searcher(ranker).scores(question.text)
        right = [places[name] for name in question.ids]
        ranks.append(1 + min(_order(scores).index(place) for place in right))
    return {"ranks": ranks} | {
        name: interval(values) for name, values in _measures(ranks).items()
    }


def _measures(ranks: Sequence[int]) -> dict[str, list[float]]:
    return {
        "recall@1": [float(rank <= 1) for rank in ranks],
        "recall@5": [float(rank <= 5) for rank in ranks],
        "mrr": [1 / rank for rank in ranks],
    }


def _compare(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Any:
    """Compare pairs of columns, first minus second; Holm's p over all of them."""
    found, p_values = {}, []
    for name, (first, second) in pairs.items():
        columns = np.array(first, float), np.array(second, float)
        result = paired_bootstrap(mean_of, np.zeros(len(first)), *columns)
        gap = result.difference
        p_values.append(result.p_value)
        found[name] = [round(x, 4) for x in (gap.estimate, gap.low, gap.high)]
    corrected = [round(p, 4) for p in holm(p_values)]
    return {"difference": found, "p": dict(zip(pairs, corrected, strict=True))}


def _threshold(way: str) -> dict[str, Any]:
    """Choose on validation from which confidence on a question is answered."""
    found: dict[str, Any] = {}
    for part in ("validation", "test"):
        asked = [*asked_of(part, "terms"), *asked_of(part, "none")]
        best = [searcher(way).search_with_confidence(q.text, 1) for q in asked]
        levels, answerable = [level for _, level in best], [bool(q.ids) for q in asked]
        if part == "validation":
            right = [
                any(p.id in question.ids for p in passages)
                for question, (passages, _) in zip(asked, best, strict=True)
            ]
            threshold = find_threshold(levels, answerable, right)
            found["threshold"] = round(threshold, 4)
        found[part] = refusals(levels, answerable, found["threshold"])
        found[part]["levels"] = [round(level, 3) for level in levels]
    return found


def _attacked(
    arm: str, way: str, threshold: float, settings: arms.Settings
) -> dict[str, Any]:
    """Send all attacks to one way of answering."""
    search, texts = searcher(way), [attack.text for attack in attacks()]
    outcomes: list[str] = []
    if arm in ("never refuses", "code"):
        writer = llama_writer(arms.smollm2(), arms.N_TOKENS)
        assistant = assistant_of(way, writer, threshold, settings)
        answers = [assistant.answer(text, ATTACKER) for text in texts]
        shown = [answer.text for answer in answers]
        outcomes = [f"{a.outcome} {a.reason}".strip() for a in answers]
    elif arm == "login":
        shown = arms.written([arms.login_ids(text, search, settings) for text in texts])
    else:
        system = arms.ARMS[arm]
        prompts = [arms.careless_ids(text, search, system) for text in texts]
        shown = arms.written(prompts)
    return _judged(shown, arms.ARMS[arm]) | {"outcomes": outcomes}


def _judged(shown: Sequence[str], system: str) -> dict[str, Any]:
    terms, orders = arms.shop()
    found = [
        succeeds(attack, text, orders, terms, system)
        for attack, text in zip(attacks(), shown, strict=True)
    ]
    return {
        "succeeded": [int(bool(why)) for why in found],
        "n_succeeded": sum(map(bool, found)),
        "shown": [text[:240] for text in shown],
        "why": ["; ".join(why)[:80] for why in found],
    }


def _stubbed(
    stub: str, way: str, threshold: float, settings: arms.Settings
) -> dict[str, Any]:
    """Put a model in SmolLM2's place that wants to do harm."""
    write = arms.STUBS[stub]
    assistant = assistant_of(way, write, threshold, settings)
    raw, shown = [], []
    for attack in attacks():
        messages = [
            {"role": "system", "content": arms.ARMS["code"]},
            {"role": "user", "content": f"Question: {attack.text}"},
        ]
        raw.append("".join(write(messages)))
        shown.append(assistant.answer(attack.text, ATTACKER).text)
    judged = {
        name: _judged(texts, arms.ARMS["code"])["n_succeeded"]
        for name, texts in (("unchecked", raw), ("checked", shown))
    }
    return judged | {"n_attacks": len(shown)}


def _same_reply(way: str, threshold: float) -> dict[str, Any]:
    """Ask for each foreign number, and for as many that do not exist."""
    assistant = assistant_of(way, None, threshold, {})
    foreign = [o.number for o in arms.shop()[1] if o.customer != ATTACKER]
    invented = [f"LM-9{i:05d}" for i in range(len(foreign))]
    asked = {
        kind: {str(assistant.answer(f"Where is {n}?", ATTACKER)) for n in numbers}
        for kind, numbers in (("foreign", foreign), ("invented", invented))
    }
    same = asked["foreign"] == asked["invented"]
    return {"n_numbers": len(foreign), "same": same and len(asked["foreign"]) == 1}


def _handed_over() -> dict[str, Any]:
    """See which messages the rules send to a person."""
    messages = messages_for_a_person()
    reasons = [handover_reason(text) for _, text in messages]
    others = [q.text for q in questions() if handover_reason(q.text)]
    return {
        "n_messages": len(messages),
        "n_sent": sum(reason is not None for reason in reasons),
        "n_right_reason": sum(
            reason == why for reason, (why, _) in zip(reasons, messages, strict=True)
        ),
        "missed": [t for r, (_, t) in zip(reasons, messages, strict=True) if not r],
        "n_questions": len(questions()),
        "questions_sent": others,
    }


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the search, the thresholds, the answers, and then the attacks."""
    yield Run("overlap", {"part": "test"}, _overlaps)
    for ranker in RANKERS:
        config: dict[str, Any] = {"part": "test", "ranker": ranker}
        yield Run(f"search/{ranker}", config, partial(_ranks, ranker))
    pairs = {
        f"{first} minus {second}, {name}": (
            _measures(finished[f"search/{first}"]["ranks"])[name],
            _measures(finished[f"search/{second}"]["ranks"])[name],
        )
        for first, second in (
            ("meaning", "words"),
            ("both", "words"),
            ("both", "meaning"),
        )
        for name in ("recall@1", "recall@5", "mrr")
    }
    yield Run("search/compared", {"pairs": list(pairs)}, partial(_compare, pairs))
    for way in WAYS:
        config = {"chosen_on": "validation", "way": way}
        yield Run(f"threshold/{way}", config, partial(_threshold, way))
        config = {"part": "validation", "way": way}
        yield Run(f"choose/{way}", config, partial(_ranks, way, "validation"))
    way = max(WAYS, key=lambda one: finished[f"choose/{one}"]["recall@1"][0])
    for form, settings in arms.FORMS.items():
        config = {"part": "validation", "way": way, "settings": settings}
        yield Run(f"choose/{form}", config, partial(judge_form, form, way))
    best = max(arms.FORMS, key=lambda one: finished[f"choose/{one}"]["n_both"])
    settings = arms.FORMS[best]
    thresholds = {one: finished[f"threshold/{one}"]["threshold"] for one in WAYS}
    setup = {"way": way, "form": best, "n_tokens": arms.N_TOKENS}
    config = {"part": "test", "thresholds": thresholds} | setup
    yield Run("answers", config, partial(answered, "test", way, thresholds, settings))
    right = finished["answers"]["right"]
    versus = {
        f"{first} minus {second}": (right[first], right[second])
        for first, second in (
            ("Llama, checked", "meaning, quoted"),
            ("Llama, checked", "words, quoted"),
            ("Llama, checked", "Llama, unchecked"),
            ("meaning, quoted", "words, quoted"),
        )
    }
    yield Run("answers/compared", {"pairs": list(versus)}, partial(_compare, versus))
    threshold = thresholds[way]
    setup |= {"threshold": threshold}
    for arm, system in arms.ARMS.items():
        level = NEVER if arm == "never refuses" else threshold
        config = {"arm": arm, "system": system} | setup | {"threshold": level}
        attack = partial(_attacked, arm, way, level, settings)
        yield Run(f"attacks/{arm}", config, attack)
    for stub in arms.STUBS:
        config = {"stub": stub} | setup | {"threshold": NEVER}
        attack = partial(_stubbed, stub, way, NEVER, settings)
        yield Run(f"stub/{stub}", config, attack)
    yield Run("same reply", setup, partial(_same_reply, way, threshold))
    yield Run("handed over", {"part": "all"}, _handed_over)


def _fingerprints() -> dict[str, str]:
    passages, orders = arms.shop()
    texts = repr([passages, orders, questions(), attacks(), messages_for_a_person()])
    return {
        "texts": hashlib.sha256(texts.encode()).hexdigest()[:16],
        "minilm": weights_digest(arms.minilm()),
    }


SERVICE = Experiment(
    name="service",
    about="customer service: search, grounded answers, and attacks with and without "
    "a guard",
    fingerprints=_fingerprints,
    runs=_plan,
)
