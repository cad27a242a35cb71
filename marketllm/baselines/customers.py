"""What you would pick instead, for customers in a table: classical models.

Each function returns a pipeline that is not fitted yet. All but the last take a
DataFrame with numbers, names and gaps, one row a customer::

    model = table_lightgbm().fit(data.train, data.train["label"])
    scores = model.predict_proba(data.test)[:, 1]

The columns ``customer``, ``label`` and ``text`` are not looked at. Medians, scales,
bins and names are learned from the rows that `fit` is given, and from no others.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from marketllm.baselines.columns import _coder, _is_number, _require_columns

NOT_FEATURES = ("customer", "label", "text")
RFM = ("recency_days", "age_days", "n_purchases", "amount", "mean_amount")


def table_logistic_regression(c: float = 1.0) -> Pipeline:
    """Build logistic regression on the columns of a table.

    A gap in a number becomes the median, and a column says that there was a gap.
    The numbers of `rfm` are put on a logarithmic scale. All numbers are scaled to
    mean 0 and variance 1. Each name has a column of its own.

    Parameters
    ----------
    c : float
        Inverse strength of the penalty; larger fits the training rows more closely.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    Notes
    -----
    How C was chosen: by the mean AUC over five folds of the training parts, copies
    of a row in one fold, two cuts for churn and Caravan. Churn: 0.8448 at C = 1 (and
    at 10), 0.8442 at 0.1, 0.8419 at 0.01. CDNOW: 0.7713 at 1, 0.7714 at 0.01. Caravan
    with its 85 columns wants a strong penalty: 0.7542 at 0.01, 0.7535 at 0.003,
    0.7484 at 0.1, 0.7411 at 1 (standard error 0.005). Its codes as names, with
    ``astype(str)``, gave 0.7541 at 0.01 and 0.7015 at 1 (0.009): the training folds
    cannot tell which is better. A code has no mean, which speaks for names.
    """
    fill = SimpleImputer(strategy="median", add_indicator=True)
    prepare = ColumnTransformer(
        [
            (
                "rfm",
                make_pipeline(fill, FunctionTransformer(_log), StandardScaler()),
                _rfm_columns,
            ),
            ("numbers", make_pipeline(fill, StandardScaler()), _other_numbers),
            ("names", _one_column_each(), _names),
        ]
    )
    return _pipeline(prepare, LogisticRegression(C=c, max_iter=3000))


def table_naive_bayes() -> Pipeline:
    """Build naive Bayes on the columns of a table, numbers cut at their quantiles.

    Each column becomes one token, as in `HistoryTokenizer`: a number one of eight
    bins, a name or a gap itself. Then each token counts for itself.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    References
    ----------
    Dougherty, Kohavi and Sahami (1995) for cutting numbers before naive Bayes.
    """
    return _pipeline(_Tokens(), OneHotEncoder(handle_unknown="ignore"), MultinomialNB())


def table_lightgbm(seed: int = 0) -> Pipeline:
    """Build gradient-boosted trees on the columns of a table.

    Trees need no scaling, and a gap in a number is a branch of its own.

    Parameters
    ----------
    seed : int
        Fixes which columns a tree may look at.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    Raises
    ------
    ModuleNotFoundError
        If LightGBM is not installed.

    References
    ----------
    Ke et al. (2017), LightGBM.

    Notes
    -----
    How the settings were chosen: on the training parts, as for
    `table_logistic_regression`; one setting for all three. 200 trees of 4 leaves at
    rate 0.03, each on 30% of the columns, gave 0.8475 on churn, 0.7690 on Caravan and
    0.7724 on CDNOW (standard errors 0.004, 0.008, 0.005). With at least 40 rows in a
    leaf, not 20: 0.8475, 0.7582, 0.7728; and from there with 8 leaves 0.8486, 0.7493,
    0.7729; with 16 leaves 0.8472, 0.7375, 0.7717; with 100 trees 0.8436, 0.7624,
    0.7724; with 400 trees 0.8485, 0.7506, 0.7714; on all columns 0.8469, 0.7599,
    0.7729. LightGBM's own settings (100 trees of 31 leaves at rate 0.1 on all
    columns) gave 0.8331, 0.7127 and 0.7645: far too large for such tables.
    """
    prepare = ColumnTransformer(
        [("numbers", "passthrough", _numbers), ("names", _one_column_each(), _names)],
        sparse_threshold=0,
    )
    return _pipeline(
        prepare,
        _lightgbm(
            seed,
            n_estimators=200,
            learning_rate=0.03,
            num_leaves=4,
            colsample_bytree=0.3,
        ),
    )


def text_lightgbm(seed: int = 0) -> Pipeline:
    """Build gradient-boosted trees on TF-IDF weights. Takes raw texts.

    Parameters
    ----------
    seed : int
        Of LightGBM; with these settings nothing is drawn.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    Raises
    ------
    ModuleNotFoundError
        If LightGBM is not installed.

    Notes
    -----
    How the settings were chosen: on the training part of the fine-food reviews, by
    the mean AUC over five folds that keep copies of a text together. 300 trees of 15
    leaves at rate 0.05 on words of at least 5 reviews gave 0.8260, on words of at
    least 2 0.8202. With 30% of the words for each tree: 400 such trees 0.8263; 200 at
    rate 0.1 0.8250, of 7 leaves 0.8254, of 31 leaves 0.8202 (standard errors 0.005).
    None comes near `tfidf_logistic_regression` with 0.8597: trees ask one word at a
    time.
    """
    weigh = TfidfVectorizer(min_df=5, sublinear_tf=True)
    return _pipeline(
        weigh, _lightgbm(seed, n_estimators=300, learning_rate=0.05, num_leaves=15)
    )


class _Tokens(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn each column into the number of its bin or name."""

    def fit(self, frame: pd.DataFrame, labels: Any = None) -> "_Tokens":
        _require_columns("customers", frame)
        names = [str(name) for name in frame if name not in NOT_FEATURES]
        self.coders_ = [_coder(name, frame[name], 8) for name in names]
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        _require_columns("customers", frame, [coder.column for coder in self.coders_])
        return np.stack(
            [coder.codes(frame[coder.column]) for coder in self.coders_], axis=1
        )


def _pipeline(*parts: Any) -> Pipeline:
    names = ("cut", "prepare", "classify")[-len(parts) :]
    return Pipeline(list(zip(names, parts, strict=True)))


def _lightgbm(seed: int, **settings: Any) -> Any:
    try:
        from lightgbm import LGBMClassifier
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'gradient boosting needs LightGBM: pip install "marketllm[cases]"'
        ) from error
    return LGBMClassifier(
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
        **settings,
    )


def _one_column_each() -> Pipeline:
    return make_pipeline(
        FunctionTransformer(_as_text), OneHotEncoder(handle_unknown="ignore")
    )


def _as_text(frame: pd.DataFrame) -> np.ndarray:
    """Write each name as text, and a gap as the name 'missing'."""
    return frame.astype(object).where(frame.notna(), "missing").astype(str).to_numpy()


def _log(numbers: np.ndarray) -> np.ndarray:
    return np.sign(numbers) * np.log1p(np.abs(numbers))  # a refund stays below 0


def _numbers(frame: pd.DataFrame) -> list[str]:
    return [str(c) for c in frame if c not in NOT_FEATURES and _is_number(frame[c])]


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(c) for c in frame if c not in NOT_FEATURES and not _is_number(frame[c])]


def _rfm_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in _numbers(frame) if name in RFM]


def _other_numbers(frame: pd.DataFrame) -> list[str]:
    return [name for name in _numbers(frame) if name not in RFM]
