"""Weights & Biases, a mirror of a run."""
