"""Pictures of slices: `images/` with `masks/`, and class folders."""

import unicodedata
from collections import defaultdict
from collections.abc import Container
from pathlib import Path

from brainseg.data.case import Case, OnProblem, Problem, name_some, refuse
from brainseg.data.image import IMAGE_SUFFIXES
from brainseg.data.layouts.class_names import find_class
from brainseg.data.layouts.figshare import read_folds
from brainseg.data.layouts.labels import read_labels
from brainseg.data.layouts.mask_names import IMAGES, MASKS, find_masks, image_name
from brainseg.data.layouts.pattern import match_patient
from brainseg.data.layouts.walk import find_files, find_folder
from brainseg.vocabulary import CLASSES

IGNORED = ("thumbs.db", "desktop.ini")
"""What Windows leaves in folders of pictures."""


def read_folder(
    root: Path,
    patient_pattern: str | None = None,
    on_problem: OnProblem = refuse,
    labels: tuple[float, ...] | None = None,
) -> list[Case]:
    """Read `images/` + `masks/` with the same names, and `labels.csv` where there is one.

    The folders may have other usual names (`labels/`), and a mask `_mask` and its like after the
    name, see `brainseg.data.layouts.mask_names`.
    `labels.csv` has the columns `id,class,patient` and optionally `plane`; others are ignored. The
    id of a picture is its stem, after the names of the folders that it lies in: `siteB-y0`.

    Args:
        root: folder with `images/` and `masks/`.
        patient_pattern: regular expression whose first group is the patient in a file's stem,
            such as `(.+)_[0-9]+`; a patient in `labels.csv` takes precedence.
        on_problem: receives what is wrong: the layout, an image or a mask without the other, a
            name used twice, a pattern that does not match, or an incomplete `labels.csv`.
        labels: the values of the masks that are tumour, see `to_mask`.

    Raises:
        InputError: by default, at the first problem.
    """
    folders = [find_folder(root, names) for names in (IMAGES, MASKS)]
    if not all(folder.is_dir() for folder in folders):
        deeper = sorted(path.parent for path in root.glob("*/images"))
        found = f" Did you mean {deeper[0]}?" if deeper else ""
        message = (
            f"{root} has no images/ and masks/.{found} Expected images/N.png and masks/N.png (or "
            "figshare's N.mat)."
        )
        on_problem(Problem("layout", str(root), message))
        return []
    images, masks = (_find_pictures(folder, on_problem) for folder in folders)
    masks = _name_by_images(masks, images)
    _check_pairs(folders, images, masks, on_problem)
    table = read_labels(root, images, on_problem)
    folds = read_folds(root, on_problem)
    cases = []
    for name, image in images.items():
        row = table.get(name, {})
        label, plane = row.get("class") or None, row.get("plane") or None
        patient = row.get("patient") or match_patient(image.stem, patient_pattern, on_problem)
        fold = folds.get(int(name)) if name.isdecimal() else None
        mask = masks.get(name)
        cases.append(Case(name, label, patient, image, mask, plane, fold, labels=labels))
    return cases


def read_kaggle_mri(root: Path, on_problem: OnProblem = refuse) -> list[Case]:
    """Read class folders, `Training/CLASS/*.jpg` and `Testing/CLASS/*.jpg`.

    There are no masks and no patients. File names differ between versions of the data set, so
    only the folders' names are used, see `find_class`. Folders of no class are named.

    Raises:
        InputError: by default, where there are no class folders, or they are empty.
    """
    folders: dict[str, list[Path]] = defaultdict(list)
    pictures = [path for path in find_files(root, on_problem) if is_picture(path)]
    if marked := find_masks(pictures):
        masks = sorted(marked)
        message = (
            f"{len(masks)} masks in {root} are left out, such as {_some(masks, root)}: class "
            "folders are read without masks. Move them and their images into masks/ and images/."
        )
        on_problem(Problem("mask", str(masks[0]), message, fatal=False))
    for path in pictures:
        if path not in marked:
            folders[path.parent.name].append(path)
    for name, paths in folders.items():
        if (known := find_class(name)) != name:
            message = (
                f"{root}: the folder {name} is taken for the class {known}."
                if known
                else f"{root}: {len(paths)} pictures in {paths[0].parent} are left out. Expected a "
                f"folder named by a class: {', '.join(CLASSES)}."
            )
            on_problem(Problem("layout", str(paths[0].parent), message, fatal=False))
    found = sorted(path for name in folders if find_class(name) for path in folders[name])
    cases = [
        Case(_name(path, root), find_class(path.parent.name), None, path, None) for path in found
    ]
    if not cases:
        message = (
            f"No images in class folders below {root}. Expected Training/CLASS/*.jpg and "
            f"Testing/CLASS/*.jpg with the classes {', '.join(CLASSES)}."
        )
        on_problem(Problem("layout", str(root), message))
    return cases


def is_picture(path: Path) -> bool:
    """Whether a file name is that of a picture, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _find_pictures(folder: Path, on_problem: OnProblem) -> dict[str, Path]:
    """The pictures below a folder by their names, numbers first and in their order."""
    files = find_files(folder, on_problem)
    others = [p for p in files if not is_picture(p) and p.name.lower() not in IGNORED]
    if others:
        message = (
            f"{len(others)} files in {folder} are left out, such as {_some(others, folder)}. "
            f"Expected pictures: {', '.join(IMAGE_SUFFIXES)}."
        )
        on_problem(Problem("layout", str(folder), message, fatal=False))
    if deeper := [path for path in files if is_picture(path) and path.parent != folder]:
        message = (
            f"{len(deeper)} pictures lie in folders of {folder}, such as {_some(deeper, folder)}: "
            f"their ids begin with the folder, as {_name(deeper[0], folder)}."
        )
        on_problem(Problem("layout", str(folder), message, fatal=False))
    names: dict[str, Path] = {}
    for path in sorted(filter(is_picture, files), key=lambda path: _order(_name(path, folder))):
        name = _name(path, folder)
        if name in names:
            message = (
                f"{folder} has files with the same stem and different suffixes, such as "
                f"{_some([names[name], path], folder)}. Remove one of them."
            )
            on_problem(Problem("id", str(path), message))
            continue
        names[name] = path
    return names


def _name_by_images(masks: dict[str, Path], images: Container[str]) -> dict[str, Path]:
    """Masks by the names of their images: `x_mask` is of `x`, where that has no other mask."""
    named: dict[str, Path] = {}
    for name, path in masks.items():
        image = image_name(name)
        free = image in images and image not in masks and image not in named
        named[image if name not in images and free else name] = path
    return named


def _check_pairs(
    folders: list[Path], images: dict[str, Path], masks: dict[str, Path], on_problem: OnProblem
) -> None:
    """Name what stands alone; a mask without its image is as fatal as the reverse."""
    own, other = folders
    alone = [path for name, path in images.items() if name not in masks]
    for path in alone:
        message = (
            f"{len(alone)} of {len(images)} images in {own} have no mask, such as "
            f"{_some([path], own)}. Expected a file with the same stem in {other} (all black where "
            "there is no tumour)."
        )
        on_problem(Problem("mask", str(path), message))
    alone = [path for name, path in masks.items() if name not in images]
    for path in alone:
        message = (
            f"{len(alone)} of {len(masks)} masks in {other} have no image, such as "
            f"{_some([path], other)}. Expected a file with the same stem in {own}; add it, or "
            "remove the mask."
        )
        on_problem(Problem("image", str(path), message))


def _some(paths: list[Path], folder: Path) -> str:
    return name_some(str(path.relative_to(folder)) for path in paths)


def _name(path: Path, folder: Path) -> str:
    """A picture's name: the folders that it lies in, and its stem."""
    name = "-".join((*path.relative_to(folder).parts[:-1], path.stem))
    return unicodedata.normalize("NFC", name)  # which macOS's own file names are not


def _order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (10**9, name)
