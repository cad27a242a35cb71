"""How a text becomes numbers, and what learns from them."""

from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from marketllm.baselines import tfidf_logistic_regression
from marketllm.baselines.lexicon import vader_scores
from marketllm.marketing.sentiment.network import _NetworkClassifier, _NetworkGrader
from marketllm.pretrained import SentenceEncoder, load_minilm

Reader = Literal["words", "characters", "lexicon", "minilm", "transformer"]

# As in the experiment `texts`, where folds of the training part chose them.
_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
_C_CHARACTERS, _C_MINILM = 5.0, 0.01
_ALPHA = 0.5  # of the chapter on losses
_ALPHAS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)


@cache
def _minilm() -> SentenceEncoder:
    return load_minilm()


def _vectors(texts: Any) -> np.ndarray:
    return _minilm().encode(list(texts)).numpy().astype(float)


def _feeling(texts: Any) -> np.ndarray:
    return vader_scores(list(texts))[:, None]


def _check_reader(reader: str) -> None:
    if reader not in get_args(Reader):
        choices = ", ".join(map(repr, get_args(Reader)))
        raise ValueError(f"reader is {reader!r}; choose one of {choices}.")


def _classifier(reader: Reader, n_epochs: int, seed: int) -> Any:
    """Build an unfitted classifier of texts."""
    _check_reader(reader)
    if reader == "words":
        return tfidf_logistic_regression()
    if reader == "characters":
        pipeline = tfidf_logistic_regression(_C_CHARACTERS)
        pipeline["weigh"].set_params(**_CHARACTERS)
        return pipeline
    if reader == "transformer":
        return _NetworkClassifier(n_epochs, seed)
    return _with(reader, LogisticRegression(C=_C_MINILM), LogisticRegression())


def _grader(reader: Reader, n_epochs: int, seed: int) -> Any:
    """Build an unfitted model that grades texts."""
    _check_reader(reader)
    if reader in ("words", "characters"):
        more = _CHARACTERS if reader == "characters" else {"ngram_range": (1, 2)}
        weigh = TfidfVectorizer(sublinear_tf=True, **more)
        return make_pipeline(weigh, Ridge(alpha=_ALPHA))
    if reader == "transformer":
        return _NetworkGrader(n_epochs, seed)
    return _with(reader, RidgeCV(_ALPHAS), LinearRegression())


def _with(reader: Reader, on_vectors: Any, on_feeling: Any) -> Pipeline:
    if reader == "lexicon":
        return make_pipeline(FunctionTransformer(_feeling), on_feeling)
    read = FunctionTransformer(_vectors)
    return make_pipeline(read, StandardScaler(), on_vectors)
