"""Decoded, resized slices in memory-mapped arrays, made once and shared by every job."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs

from brainseg.data.case import Case
from brainseg.data.cases import fingerprint
from brainseg.data.duplicates import SIDE, Pair, find_pairs, make_thumbnail
from brainseg.data.image import decode_case, hash_pixels, resize_image, resize_mask
from brainseg.errors import InputError
from brainseg.files import building, make_array, write_json
from brainseg.terminal import bar

FORMAT = 3
"""Part of the cache's key: raise it when the content of the arrays changes."""

REPORTED = 10
"""Bad files listed in one message."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slices:
    """The slices of a list of cases, in the same order.

    Attributes:
        images: N×H×W uint8, grey.
        masks: N×H×W uint8, 1 is tumour.
        content: hash of each image's pixels at its original size.
        fingerprint: hash of the case list, see `brainseg.data.cases.fingerprint`.
        pairs: duplicate images.
    """

    images: np.ndarray
    masks: np.ndarray
    content: list[str]
    fingerprint: str
    pairs: list[Pair] = field(default_factory=list)


def cache_folder(given: str | None) -> Path:
    """The folder of the caches: as given, or the user's cache folder for brainseg."""
    return Path(given) if given else Path(platformdirs.user_cache_dir("brainseg"))


def load_slices(cases: Sequence[Case], size: int, folder: Path) -> Slices:
    """Open the cached slices of `cases` at size×size; decode and resize them if necessary.

    Several jobs may start at once: each builds in a folder of its own, and the first to finish
    gives the cache its name.

    Raises:
        InputError: some files cannot be used (each is named, with the reason), or the disk is full.
    """
    key = fingerprint(cases)
    cached = folder / f"slices-{key[:16]}-{size}-v{FORMAT}"
    if not cached.is_dir():
        _build(cases, size, cached)
    index = json.loads((cached / "index.json").read_text())
    images, masks = (np.load(cached / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    return Slices(images, masks, index["content"], key, [Pair(*pair) for pair in index["pairs"]])


def _build(cases: Sequence[Case], size: int, target: Path) -> None:
    shape = (len(cases), size, size)
    thumbnails = np.zeros((len(cases), SIDE, SIDE), np.uint8)
    content: list[str] = []
    notes: Counter[str] = Counter()
    bad: list[str] = []
    with building(target) as folder:
        images = make_array(folder / "images.npy", shape, np.uint8)
        masks = make_array(folder / "masks.npy", shape, np.uint8)
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(partial(_decode, size=size), cases)
            for i, result in enumerate(bar(decoded, "Decoding slices", total=len(cases))):
                if isinstance(result, InputError):
                    bad.append(str(result))
                    continue
                images[i], masks[i], thumbnails[i], hashed, note = result
                content.append(hashed)
                notes.update([note] if note else [])
        if bad:
            listed = "\n  ".join(bad[:REPORTED])
            more = f"\n  … and {len(bad) - REPORTED} more" if len(bad) > REPORTED else ""
            raise InputError(f"{len(bad)} of {len(cases)} cases cannot be used:\n  {listed}{more}")
        for note, count in notes.items():
            logger.info("%d of %d files: %s.", count, len(cases), note)
        images.flush()
        masks.flush()
        pairs = find_pairs(thumbnails, content, [case.patient for case in cases])
        index = {"content": content, "pairs": [astuple(pair) for pair in pairs]}
        write_json(folder / "index.json", index)


def _decode(
    case: Case, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, str | None] | InputError:
    """Image, mask, thumbnail, hash and note of a case, or what is wrong with it."""
    try:
        image, mask = decode_case(case.image, case.mask, case.labels)
    except InputError as error:
        return error
    pixels = image.pixels
    arrays = resize_image(pixels, size), resize_mask(mask, size), make_thumbnail(pixels)
    return *arrays, hash_pixels(pixels), image.note
