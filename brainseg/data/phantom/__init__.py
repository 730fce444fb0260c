"""Synthetic T1 contrast-enhanced slices: a head, tumours, and a scanner that sees them."""
