"""Which image volume belongs to which label volume, and to which patient."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainseg.data.case import OnProblem, Problem, refuse
from brainseg.data.layouts.walk import find_files
from brainseg.errors import InputError


@dataclass(frozen=True)
class Pair:
    """The two files of one examination."""

    name: str
    patient: str
    image: Path
    label: Path


def pair_volumes(
    root: Path, image: re.Pattern[str], label: re.Pattern[str], on_problem: OnProblem = refuse
) -> list[Pair]:
    """The pairs of image and label volumes below `root`, with unique names."""
    files = [path for path in find_files(root) if path.name.endswith((".nii", ".nii.gz"))]
    in_folders = {path for path in files if label.search(path.parent.name) and path.parent != root}
    found = (
        _pair_by_name(files, in_folders, image, on_problem)
        if in_folders
        else _pair_by_folder(files, image, label, on_problem)
    )
    places = [place.relative_to(root).parts for place, *_ in found]
    return [
        Pair(name, next((part for part in place if part.startswith("sub-")), name), *pair)
        for name, place, (_, *pair) in zip(_unique_names(places), places, found, strict=True)
    ]


def _pair_by_name(
    files: Sequence[Path], labels: set[Path], image: re.Pattern[str], on_problem: OnProblem
) -> list[tuple[Path, Path, Path]]:
    """Place, image and label of pairs with the same name in two folders."""
    by_stem = {_stem(path): path for path in labels}
    images = [path for path in files if path not in labels]
    several = len(images) > len({_stem(path) for path in images})
    chosen = [path for path in images if image.search(path.name)] if several else images
    for path in chosen:
        if _stem(path) not in by_stem:
            _leave_out(path, "no label volume has the same name", on_problem)
    paired = [path for path in chosen if _stem(path) in by_stem]
    if len({_stem(path) for path in paired}) < len(paired):
        raise InputError(
            f"Several images belong to one label volume, such as {paired[0]}. Choose one sequence "
            "with image=… (a regular expression for its file name)."
        )
    return [(path.with_name(_stem(path)), path, by_stem[_stem(path)]) for path in paired]


def _pair_by_folder(
    files: Sequence[Path], image: re.Pattern[str], label: re.Pattern[str], on_problem: OnProblem
) -> list[tuple[Path, Path, Path]]:
    """Place, image and label of pairs that share a folder."""
    pairs = []
    for folder in sorted({path.parent for path in files}):
        own = [path for path in files if path.parent == folder]
        masks = [path for path in own if label.search(path.name)]
        images = [path for path in own if path not in masks and image.search(path.name)]
        if len(masks) == len(images) == 1:
            pairs.append((folder, images[0], masks[0]))
        else:
            found = f"it holds {len(images)} images and {len(masks)} label volumes"
            _leave_out(folder, f"{found}, expected one of each", on_problem)
    return pairs


def _leave_out(path: Path, why: str, on_problem: OnProblem) -> None:
    on_problem(Problem("layout", str(path), f"{path} is left out: {why}.", fatal=False))


def _unique_names(places: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each path: its last part that is unique everywhere, else the whole path."""
    for depth in range(1, max(map(len, places), default=0) + 1):
        names = [place[-depth] if len(place) >= depth else "" for place in places]
        if len(set(names)) == len(names) and all(names):
            return names
    return ["-".join(place) or "volume" for place in places]


def _stem(path: Path) -> str:
    """A file's name without its suffixes and nnU-Net's sequence number."""
    return re.sub(r"(_\d{4})?\.nii(\.gz)?$", "", path.name)
