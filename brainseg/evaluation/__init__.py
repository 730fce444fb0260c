"""Masks to numbers: metrics, statistics, per-case scores."""
