"""The experiments of the case study: whether the large model wins, and what helps."""
