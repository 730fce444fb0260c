"""What a folder of DICOM files holds that is not used, and what it does not say."""

import re
from collections import defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

from brainseg.data.case import OnProblem, Problem, name_some
from brainseg.data.layouts.dicom_file import Header

NOBODY = re.compile(r"(anon|unknown|none|no.?name|patient|test|x+|0+)\W*(ymi[sz]ed|ymous)?", re.I)
"""Names that say nothing of who a patient is."""


def tell_unread(headers: Sequence[Header], on_problem: OnProblem) -> None:
    """Name objects without pixels, and images with overlays."""
    others = [header.path for header in headers if header.kind == "other"]
    note(others, "DICOM files hold no pixels", on_problem)
    over = [header.path for header in headers if header.kind == "image" and header.overlays]
    note(over, "images carry overlays (60xx), which are not read", on_problem)


def tell_unmarked(
    series: Sequence[Sequence[Header]],
    masks: Container[Path],
    drawn: bool,
    on_problem: OnProblem,
) -> None:
    """Name series without masks beside others, and slices without in a series with drawn ones."""
    marked = [any(image.path in masks for image in images) for images in series]
    if any(marked):
        without = [
            images[0].path for images, known in zip(series, marked, strict=True) if not known
        ]
        note(without, "series have no masks, those of", on_problem)
    if drawn:
        empty = [
            image.path
            for images, known in zip(series, marked, strict=True)
            for image in images
            if known and image.path not in masks
        ]
        what = "slices have no mask though others of their series do, and count as without tumour"
        note(empty, what, on_problem)


def tell_patients(root: Path, images: Sequence[Header], on_problem: OnProblem) -> None:
    """Tell of names that are nobody's, and of those that may be one person's."""
    studies, names = {image.study for image in images}, {image.patient for image in images}
    found = []
    if nobody := [name for name in names if not name or NOBODY.fullmatch(name)]:
        found.append(
            f"there is the patient {nobody[0]!r}. Studies without a name count as a patient each, "
            "those of one name as one"
        )
    similar: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        similar["".join(filter(str.isalnum, name.lower()))].append(name)
    if alike := [each for each in similar.values() if len(each) > 1]:
        found.append(f"{name_some(map(repr, alike[0]))} count as different patients")
    for what in found if len(studies) > 1 else ():
        message = (
            f"In {root}, which has {len(studies)} studies, {what}. If that is wrong, correct "
            "PatientID, or give patient_pattern=…."
        )
        on_problem(Problem("patient", str(root), message, fatal=False))


def note(paths: Sequence[Path], what: str, on_problem: OnProblem) -> None:
    """Name some files, if there are any, in a problem that is not fatal."""
    if paths:
        message = f"{len(paths)} {what}: {name_some(map(str, paths))}."
        on_problem(Problem("layout", str(paths[0]), message, fatal=False))
