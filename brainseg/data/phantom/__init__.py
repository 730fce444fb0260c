"""Synthetic T1 contrast-enhanced slices: heads, tumours and scanners."""
