"""The small package behind the book: Transformers for personalised marketing."""

__version__ = "0.1.0"
