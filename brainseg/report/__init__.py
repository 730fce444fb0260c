"""Finished runs to tables."""
