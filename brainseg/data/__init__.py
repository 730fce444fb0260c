"""Disk to tensors: cases, splits, datasets, augmentation, phantom."""
