"""Readers that turn the files of a data set into cases, one per layout on disk."""
