"""Names of mask files, and of the folders of images and masks."""

import re
from collections.abc import Collection
from pathlib import Path

IMAGES = ("images", "image", "imgs")
MASKS = ("masks", "mask", "labels", "label", "segmentations", "segmentation", "seg")
"""Names of folders, in small letters; the first is the usual one."""

ENDING = re.compile(r"[-_. ](mask|segm?|segmentation|label|labels|roi)(_\d+)?$", re.IGNORECASE)
"""What the name of a mask may have beyond the name of its image."""


def image_name(name: str) -> str:
    """The name of the image that a mask is named after: `x_mask` and `x_seg` are of `x`."""
    return ENDING.sub("", name)


def find_masks(pictures: Collection[Path]) -> set[Path]:
    """Those among pictures that are masks of others, by their names or by their folders."""
    stems = {path.with_suffix("") for path in pictures}
    roots = {folder.parent for path in pictures for folder in _named(path, IMAGES)}
    return {
        path
        for path in pictures
        if (
            (name := image_name(path.stem)) not in ("", path.stem) and path.with_name(name) in stems
        )
        or any(folder.parent in roots for folder in _named(path, MASKS))
    }


def _named(path: Path, names: Collection[str]) -> list[Path]:
    return [folder for folder in path.parents if folder.name.lower() in names]
