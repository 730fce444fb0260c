"""Decoded, resized slices in memory-mapped arrays, made once and shared by every job."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from rich.progress import track

from brainseg.data.case import Case
from brainseg.data.cases import fingerprint
from brainseg.data.image import decode_image, read_mask, resize_image, resize_mask
from brainseg.errors import InputError
from brainseg.files import write_json

FORMAT = 1
"""Part of the cache's key: raise it when the arrays' content changes."""

REPORTED = 10
"""Bad files listed in one message."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slices:
    """The slices of a list of cases, in its order.

    Attributes:
        images: N×H×W uint8, grey.
        masks: N×H×W uint8, 1 is tumour.
        content: hash of each image's pixels at its own size; equal images share it.
        fingerprint: hash of the case list, see `brainseg.data.cases.fingerprint`.
    """

    images: np.ndarray
    masks: np.ndarray
    content: list[str]
    fingerprint: str


def cache_folder(given: str | None) -> Path:
    """The folder of the caches: as given, or the user's cache folder for brainseg."""
    return Path(given) if given else Path(platformdirs.user_cache_dir("brainseg"))


def load_slices(cases: Sequence[Case], size: int, folder: Path) -> Slices:
    """Open the cached slices of `cases` at size×size; decode and resize them if need be.

    Several jobs may start at once: each builds in a folder of its own and the first to finish
    gives the cache its name.

    Raises:
        InputError: some files cannot be used (each is named with what is wrong), or the disk is
            full.
    """
    key = fingerprint(cases)
    cached = folder / f"slices-{key[:16]}-{size}-v{FORMAT}"
    if not cached.is_dir():
        _build(cases, size, cached)
    index = json.loads((cached / "index.json").read_text())
    return Slices(
        np.load(cached / "images.npy", mmap_mode="r"),
        np.load(cached / "masks.npy", mmap_mode="r"),
        index["content"],
        key,
    )


def _build(cases: Sequence[Case], size: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".slices-"))
    shape = (len(cases), size, size)
    content: list[str] = []
    notes: Counter[str] = Counter()
    bad: list[str] = []
    try:
        images = np.lib.format.open_memmap(building / "images.npy", "w+", np.uint8, shape)
        masks = np.lib.format.open_memmap(building / "masks.npy", "w+", np.uint8, shape)
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(_decode, cases, [size] * len(cases))
            for i, result in enumerate(
                track(decoded, "Decoding slices", total=len(cases), transient=True)
            ):
                if isinstance(result, InputError):
                    bad.append(str(result))
                    continue
                images[i], masks[i], digest, note = result
                content.append(digest)
                notes.update([note] if note else [])
        if bad:
            listed = "\n  ".join(bad[:REPORTED])
            more = f"\n  … and {len(bad) - REPORTED} more" if len(bad) > REPORTED else ""
            raise InputError(f"{len(bad)} of {len(cases)} cases cannot be used:\n  {listed}{more}")
        for note, count in notes.items():
            logger.info("%d of %d files: %s.", count, len(cases), note)
        images.flush()
        masks.flush()
        write_json(building / "index.json", {"content": content})
        building.chmod(0o755)  # mkdtemp makes private folders; a cache may be shared
        try:
            building.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another job was faster, with the same content
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _decode(case: Case, size: int) -> tuple[np.ndarray, np.ndarray, str, str | None] | InputError:
    """Image, mask, content hash and note of a case, or what is wrong with it."""
    try:
        image = decode_image(case.image)
        mask = np.zeros(image.pixels.shape, bool) if case.mask is None else read_mask(case.mask)
    except InputError as error:
        return error
    if mask.shape != image.pixels.shape:
        return InputError(
            f"{case.image} is {_size(image.pixels)}, its mask {case.mask} is {_size(mask)}. "
            "Expected the same size."
        )
    digest = hashlib.sha256(str(image.pixels.shape).encode() + image.pixels.tobytes()).hexdigest()
    return resize_image(image.pixels, size), resize_mask(mask, size), digest[:16], image.note


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}×{array.shape[0]} pixels"
