"""The experiments of the five applications."""
