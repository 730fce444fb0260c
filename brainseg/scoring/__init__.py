"""Networks and slices to cases, metrics and predictions."""
