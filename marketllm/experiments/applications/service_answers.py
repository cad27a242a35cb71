"""Which form of prompt is good, and what each system answers to each question."""

import time
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from marketllm.evaluation import bootstrap_interval
from marketllm.experiments.applications import service_arms as arms
from marketllm.experiments.applications.service_questions import Question, questions
from marketllm.experiments.applications.service_scores import holds, title_scores
from marketllm.marketing.service import (
    PassageSearch,
    ServiceAssistant,
    grounded_messages,
    grounded_share,
    llama_writer,
    objections,
)
from marketllm.marketing.service.words import sentences
from marketllm.marketing.service.writing import Messages

SYSTEMS = (
    "first passage",
    "titles",
    "words, quoted",
    "meaning, quoted",
    "Llama, unchecked",
    "Llama, checked",
)


@cache
def searcher(way: str) -> PassageSearch:
    """Read the terms once for each way of searching.

    Parameters
    ----------
    way : {"words", "meaning", "both"}
        Of `PassageSearch`.

    Returns
    -------
    PassageSearch
    """
    encoder = None if way == "words" else arms.minilm()
    return PassageSearch(way, encoder).fit(arms.shop()[0])  # type: ignore[arg-type]


def interval(values: Sequence[float]) -> list[float]:
    """Give a mean and the ends of its 95% interval, over questions.

    Parameters
    ----------
    values : sequence of float
        One for each question.

    Returns
    -------
    list of float
        Mean, low end, high end.
    """
    found = bootstrap_interval(mean_of, np.zeros(len(values)), np.array(values))
    return [round(x, 4) for x in (found.estimate, found.low, found.high)]


def mean_of(labels: Any, values: Any) -> float:
    """Give the mean as a metric; labels play no part.

    Parameters
    ----------
    labels, values : array-like of shape (N,)
        As a metric is given them.

    Returns
    -------
    float
    """
    return float(np.mean(values))


def asked_of(part: str, kind: str) -> list[Question]:
    """Give the questions of a part that have one kind of answer.

    Parameters
    ----------
    part : {"validation", "test"}
        The part.
    kind : {"terms", "own", "none"}
        Answered by the terms, by the customer's own order, or by nothing.

    Returns
    -------
    list of Question
    """

    def is_a(question: Question) -> str:
        if not question.ids:
            return "none"
        return "own" if question.ids[0].startswith("LM-") else "terms"

    return [q for q in questions() if q.part == part and is_a(q) == kind]


def judge_form(form: str, way: str) -> dict[str, Any]:
    """Count the validation questions that a form of prompt leads to a good answer.

    Parameters
    ----------
    form : str
        One of ``FORMS``.
    way : str
        How passages are found.

    Returns
    -------
    dict
        Counts, and what was written.
    """
    settings = arms.FORMS[form]
    search = searcher(way)
    asked = asked_of("validation", "terms")
    sources = [search.search(q.text, settings["n_sources"]) for q in asked]
    texts = arms.written(
        [
            arms.smollm2().chat.encode(
                grounded_messages(q.text, found, settings["examples"])
            )
            for q, found in zip(asked, sources, strict=True)
        ]
    )
    held = [holds(text, q.fact) for text, q in zip(texts, asked, strict=True)]
    passed = [
        bool(text.strip()) and not objections(text, found)
        for text, found in zip(texts, sources, strict=True)
    ]
    both = [a and b for a, b in zip(held, passed, strict=True)]
    return {
        "n_questions": len(asked),
        "n_with_fact": sum(held),
        "n_passed": sum(passed),
        "n_both": sum(both),
        "wrote": [text[:160] for text in texts],
    }


class _Recorder:
    """SmolLM2 as a writer that keeps its text, and when pieces of it were there."""

    def __init__(self) -> None:
        self.write = llama_writer(arms.smollm2(), arms.N_TOKENS)
        self.text = ""

    def __call__(self, messages: Messages) -> list[str]:
        start, pieces, times = time.process_time(), [], []
        for piece in self.write(messages):
            pieces.append(piece)
            times.append(time.process_time() - start)
        self.text = "".join(pieces)
        self.first, self.last = (times[0], times[-1]) if times else (0.0, 0.0)
        length, first = 0, len(next(sentences(iter([self.text])), ""))
        for piece, moment in zip(pieces, times, strict=True):
            length, self.sentence = length + len(piece), moment
            if length > first:
                break
        return pieces


def assistant_of(
    way: str, writer: Any, threshold: float, settings: arms.Settings
) -> ServiceAssistant:
    """Make an assistant of the invented shop.

    Parameters
    ----------
    way : {"words", "meaning", "both"}
        How passages are found.
    writer : callable or None
        The model.
    threshold : float
        Below it a question is refused.
    settings : dict
        Other settings of `ServiceAssistant`.

    Returns
    -------
    ServiceAssistant
        Fitted.
    """
    assistant = ServiceAssistant(searcher(way), writer, threshold, **settings)
    return assistant.fit(*arms.shop())


def answered(
    part: str, way: str, thresholds: Mapping[str, float], settings: arms.Settings
) -> dict[str, Any]:
    """Let each system answer each question, and judge what is shown.

    Parameters
    ----------
    part : {"validation", "test"}
        Which questions.
    way : str
        How passages are found for the model.
    thresholds : mapping
        For each way.
    settings : dict
        How the model is asked.

    Returns
    -------
    dict
        For each system what it has right, and a row for each question.
    """
    asked = [q for kind in ("terms", "none", "own") for q in asked_of(part, kind)]
    passages, orders = arms.shop()
    texts = {p.id: p for p in [*passages, *(order.passage() for order in orders)]}
    recorder = _Recorder()
    quoting = {
        f"{name}, quoted": assistant_of(name, None, thresholds[name], settings)
        for name in ("words", "meaning")
    }
    checked = assistant_of(way, recorder, thresholds[way], settings)
    rows: list[dict[str, Any]] = []
    right: dict[str, list[int]] = {name: [] for name in SYSTEMS}
    n_words: dict[str, list[int]] = {name: [] for name in SYSTEMS}
    for question in asked:
        recorder.text, recorder.last = "", 0.0
        start = time.process_time()
        answer = checked.answer(question.text, question.customer)
        seconds = time.process_time() - start
        titles = title_scores(question.text, passages)
        best = passages[int(titles.argmax())].text if titles.max() > 0 else ""
        shown = {"first passage": passages[0].text, "titles": best}
        outcome = {}
        for name, assistant in quoting.items():
            quoted = assistant.answer(question.text, question.customer)
            shown[name], outcome[name] = quoted.text, quoted.outcome
        shown["Llama, unchecked"] = recorder.text or answer.text
        shown["Llama, checked"] = answer.text
        for name, text in shown.items():
            refused = outcome.get(name, answer.outcome) == "refused"
            if name == "first passage":
                refused = False
            if name == "titles":
                refused = not text
            hit = holds(text, question.fact) if question.ids else refused
            right[name].append(int(hit))
            n_words[name].append(len(text.split()))
        row: dict[str, Any] = {
            "question": question.text,
            "outcome": answer.outcome,
            "reason": answer.reason,
            "sources": list(answer.sources),
            "wrote": recorder.text[:240],
        }
        if recorder.text:
            read = [texts[name] for name in _read_by(checked, question)]
            row["grounded"] = round(grounded_share(recorder.text, read), 3)
            row["seconds"] = [
                round(x, 3)
                for x in (recorder.first, recorder.sentence, recorder.last, seconds)
            ]
        rows.append(row)
    return {
        "right": right,
        "share": {name: interval(hits) for name, hits in right.items()},
        "median_words": {name: median(counts) for name, counts in n_words.items()},
        "rows": rows,
    }


def _read_by(assistant: Any, question: Question) -> list[str]:
    """Name the sources that the model was shown."""
    if question.ids and question.ids[0].startswith("LM-"):
        return [o.number for o in assistant.book_.of(question.customer)]
    found = assistant.search.search(question.text, assistant.n_sources)
    return [passage.id for passage in found]
