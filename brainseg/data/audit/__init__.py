"""The audit of data sets: contents, broken files, duplicates."""
