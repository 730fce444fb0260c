"""Which image volume belongs to which label volume, and to which patient."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainseg.data.case import OnProblem, Problem, name_some, refuse
from brainseg.data.layouts.mask_names import image_name
from brainseg.data.layouts.patients import Place, find_doubtful, find_patients, unique_names
from brainseg.data.layouts.walk import find_files

BRAIN = re.compile(r"(brain|bet|skull|head)[-_.]?mask", re.IGNORECASE)
"""Names of masks of the brain, which skull stripping leaves behind."""

UNREAD = (".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of volumes in formats that are not read."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The two files of one examination; with its name, its path below the root, its patient."""

    name: str
    place: str
    patient: str
    image: Path
    label: Path


Found = tuple[Path, Path, Path]
"""Place, image and label of an examination."""


def pair_volumes(
    root: Path, image: re.Pattern[str], label: re.Pattern[str], on_problem: OnProblem = refuse
) -> list[Pair]:
    """The pairs of image and label volumes below `root`, with unique names.

    A label volume without image is a fatal problem, since its truth would be lost.
    """
    files = find_files(root, on_problem)
    if unread := [path for path in files if path.name.lower().endswith(UNREAD)]:
        _leave_out(unread, "not NIfTI (.nii, .nii.gz); convert them", on_problem)
    volumes = [path for path in files if path.name.lower().endswith((".nii", ".nii.gz"))]
    labels = {path for path in volumes if path.parent != root and label.search(path.parent.name)}
    found = (
        _pair_by_name(volumes, labels, image, label, on_problem)
        if labels
        else _pair_by_folder(volumes, image, label, on_problem)
    )
    places = [place.relative_to(root).parts for place, *_ in found]
    patients = find_patients(places)
    _tell_patients(root, places, patients, on_problem)
    return [
        Pair(name, "/".join(place), patient, *pair)
        for name, place, patient, (_, *pair) in zip(
            unique_names(places), places, patients, found, strict=True
        )
    ]


def _pair_by_name(
    volumes: Sequence[Path],
    labels: set[Path],
    image: re.Pattern[str],
    pattern: re.Pattern[str],
    on_problem: OnProblem,
) -> list[Found]:
    """Pairs of the same name in two folders, or of the same rest of the name.

    Images may end with nnU-Net's sequence number; `pattern` is that of label volumes.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(labels):
        by_name[_bare(path).lower()].append(path)
    images: dict[Path, list[Path]] = {path: [] for path in sorted(labels)}
    alone = []
    for path in volumes:
        if path in labels:
            continue
        name = _bare(path).lower()
        if same := by_name.get(name) or by_name.get(re.sub(r"_\d{4}$", "", name)):
            images[max(same, key=lambda label: _count_shared(label, path))].append(path)
        else:
            alone.append(path)
    lonely = [label for label, paths in images.items() if not paths]
    apart = _pair_apart((alone, image), (lonely, pattern))
    for _, drawn, label in apart:
        images.pop(label)
        alone.remove(drawn)
    several = bool(apart) or any(len(paths) > 1 for paths in images.values())
    if alone := [path for path in alone if not several or image.search(path.name)]:
        _leave_out(alone, "no label volume has the same name", on_problem)
    pairs = apart
    for label, paths in images.items():
        chosen = [path for path in paths if not several or image.search(path.name)]
        if len(chosen) == 1:
            pairs.append((chosen[0].with_name(_bare(label)), chosen[0], label))
        else:
            names = name_some(path.name for path in paths) or "none"
            why = f"images of its name: {names}; matching '{image.pattern}': {len(chosen)}"
            _lose([label], why, on_problem)
    return pairs


def _pair_by_folder(
    volumes: Sequence[Path], image: re.Pattern[str], label: re.Pattern[str], on_problem: OnProblem
) -> list[Found]:
    """Pairs that share a folder; where it holds several, also the rest of the name."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in volumes:
        by_folder[path.parent].append(path)
    sides = {folder: _take_sides(paths, image, label) for folder, paths in by_folder.items()}
    alone = [path for images, masks in sides.values() if not masks for path in images]
    lonely = [path for images, masks in sides.values() if not images for path in masks]
    pairs = _pair_apart((alone, image), (lonely, label))
    used = {path for _, *both in pairs for path in both}
    for folder, paths in sorted(by_folder.items()):
        images, masks = sides[folder]
        if not (images and masks):
            images, masks = ([p for p in side if p not in used] for side in sides[folder])
        if len(masks) == len(images) == 1:
            pairs.append((folder, images[0], masks[0]))
        elif masks and not images:
            others = name_some(path.name for path in paths if path not in masks) or "none"
            _lose(masks, f"'{image.pattern}' matches none of: {others}", on_problem)
        elif masks:
            pairs += _pair_by_rest(folder, (images, image), (masks, label), on_problem)
        elif used.isdisjoint(paths):
            message = (
                f"{folder} is left out: it holds {len(images)} images and 0 label volumes. "
                f"Expected one of each; its files: {name_some(path.name for path in paths)}."
            )
            on_problem(Problem("layout", str(folder), message, fatal=False))
    return pairs


def _take_sides(
    paths: Sequence[Path], image: re.Pattern[str], label: re.Pattern[str]
) -> tuple[list[Path], list[Path]]:
    """The images and the label volumes of a folder."""
    masks = [path for path in paths if label.search(path.name)]
    images = [path for path in paths if path not in masks and image.search(path.name)]
    return images, [path for path in masks if not BRAIN.search(path.name)]


def _pair_apart(
    images: tuple[list[Path], re.Pattern[str]], labels: tuple[list[Path], re.Pattern[str]]
) -> list[Found]:
    """Pairs of two folders whose names are equal but for what the patterns match.

    The rest must tell the examination: every number in the folders that differ is part of it.
    Where the pattern matches no image, any may be meant.
    """
    fitting = [path for path in images[0] if images[1].search(path.name)] or images[0]
    drawn, masks = _group_by_rest(fitting, images[1]), _group_by_rest(*labels)
    pairs = []
    for rest, (label, *more) in masks.items():
        if more or len(drawn.get(rest, ())) != 1:
            continue
        image = drawn[rest][0]
        words = [*_folder_words(image, label, images[1]), *_folder_words(label, image, labels[1])]
        if re.search(r"\d", rest) and all(f"-{each}-" in f"-{rest}-" for each in words):
            pairs.append((image.with_name(_rest(labels[1], _bare(label))), image, label))
    return pairs


def _folder_words(path: Path, other: Path, pattern: re.Pattern[str]) -> list[str]:
    """Words, without those of a pattern, of the numbered folders in which only `path` lies."""
    folders = path.relative_to(os.path.commonpath((path, other))).parts[:-1]
    rests = [_cut_out(pattern, _bare(Path(folder))) for folder in folders]
    return [rest for rest in rests if re.search(r"\d", rest)]


def _pair_by_rest(
    folder: Path,
    images: tuple[list[Path], re.Pattern[str]],
    labels: tuple[list[Path], re.Pattern[str]],
    on_problem: OnProblem,
) -> list[Found]:
    """Pairs in one folder whose names are equal but for what the patterns match."""
    drawn, masks = (_group_by_rest(*side) for side in (images, labels))
    pairs = [
        (folder / rest, drawn[rest][0], masks[rest][0])
        for rest in masks
        if len(masks[rest]) == len(drawn.get(rest, ())) == 1
    ]
    used = {path for _, *both in pairs for path in both}
    left, alone = ([path for path in side[0] if path not in used] for side in (labels, images))
    if left:
        names = name_some(path.name for path in alone) or "none"
        _lose(left, f"images left in the folder: {names}", on_problem)
    elif alone:
        _leave_out(alone, "no label volume has the rest of the name", on_problem)
    return pairs


def _group_by_rest(paths: Sequence[Path], pattern: re.Pattern[str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[_cut_out(pattern, _bare(path))].append(path)
    return groups


def _tell_patients(
    root: Path, places: Sequence[Place], patients: Sequence[str], on_problem: OnProblem
) -> None:
    if len(set(patients)) < len(places):
        several = {patient: patients.count(patient) for patient in patients}
        logger.info(
            "%d examinations of %d patients, by their names, such as %s.",
            *(len(places), len(several), max(several, key=lambda patient: several[patient])),
        )
    if groups := find_doubtful(places):
        example = "([^/]+)/.*" if "/" in groups[0][0] else "(.+)[-_.][0-9]+"
        message = (
            f"In {root}, {' and '.join(groups[0][:2])} may be examinations of one patient "
            f"({len(groups)} such groups). They are taken as different patients; if they are not, "
            f"patient_pattern=… must extract the patient, such as patient_pattern='{example}'."
        )
        on_problem(Problem("patient", str(root), message, fatal=False))


def _leave_out(paths: Sequence[Path], why: str, on_problem: OnProblem) -> None:
    names = name_some(map(str, paths))
    message = f"{len(paths)} volumes are left out, such as {names}: {why}."
    on_problem(Problem("layout", str(paths[0]), message, fatal=False))


def _lose(labels: Sequence[Path], why: str, on_problem: OnProblem) -> None:
    message = (
        f"{name_some(map(str, labels))}: {len(labels)} label volumes without their image ({why}). "
        f"Expected one image for each. Choose them with image=… and label=… (regular expressions "
        "for file names; data.image=… in training, --option image=… elsewhere), or remove what "
        "is too much."
    )
    on_problem(Problem("layout", str(labels[0]), message))


def _count_shared(one: Path, other: Path) -> int:
    """Number of folders that two paths share, from the root."""
    return len(Path(os.path.commonpath((one, other))).parts)


def _bare(path: Path) -> str:
    """A file's name without its endings."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _cut_out(pattern: re.Pattern[str], name: str) -> str:
    """The words of a name without that which a pattern finds in it: `P1_t1ce_2` becomes `P1-2`."""
    return _words(_rest(pattern, name))


def _rest(pattern: re.Pattern[str], name: str) -> str:
    """A name without the word that a pattern finds in it: `P_1_t1ce` becomes `P_1`."""
    found = pattern.search(name)
    if not found:  # the folder was meant
        return image_name(name)
    start, end = found.span()
    after = re.sub(r"^[a-z]+", "", name[end:], flags=re.IGNORECASE)
    return f"{name[:start]}-{after}".strip("-_. ")


def _words(name: str) -> str:
    return "-".join(re.findall(r"[^\W_]+", name))
