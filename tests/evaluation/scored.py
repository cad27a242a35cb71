"""Labels with scores for the tests of metrics, curves, intervals and comparisons."""

import numpy as np
from hypothesis import assume, settings
from hypothesis import strategies as st

quick = settings(deadline=None, max_examples=60)


@st.composite
def scored(draw, min_size=4, max_size=30):
    """Labels of both classes and scores with ties."""
    n_rows = draw(st.integers(min_size, max_size))
    labels = draw(st.lists(st.integers(0, 1), min_size=n_rows, max_size=n_rows))
    assume(0 < sum(labels) < n_rows)
    scores = draw(st.lists(st.integers(-9, 9), min_size=n_rows, max_size=n_rows))
    return np.array(labels), np.array(scores, dtype=float)


def sample(n_rows=400, seed=1):
    """Labels, scores of a good and of a middling model."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_rows) < 0.4).astype(int)
    good = labels * 1.5 + generator.normal(size=n_rows)
    middling = labels * 0.5 + generator.normal(size=n_rows)
    return labels, good, middling
