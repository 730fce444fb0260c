"""Which series of DICOM files is segmented: one that is named, or the one of a study that fits."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from brainseg.data.case import name_some
from brainseg.data.layouts.dicom_file import ignoring_odd_values, open_dicom, read_numbers, reading
from brainseg.errors import InputError
from brainseg.files import printable
from brainseg.predict.dicom_frames import DIRECTIONS, are_parallel

NO_PIXELS = {
    "1.2.840.10008.1.3.10": "is a DICOMDIR, an index: give the folder that it lies in",
    "1.2.840.10008.5.1.4.1.1.104.1": "is an encapsulated PDF, no image",
}
"""Storage class → what to say of a file that has no image."""

MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""How the storage classes of these begin (DICOM PS3.4 B.5)."""

NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    "FrameOfReferenceUID",
)
"""What a DICOM-SEG takes over from its images, or refers to."""

NO_SLICES = ("LOCALIZER", "SCOUT", "SURVEY", "PROJECTION IMAGE")
"""Words of ImageType of images that are not slices through a head."""


@dataclass(frozen=True)
class FoundSeries:
    """The files of one series.

    Attributes:
        uid: SeriesInstanceUID.
        study: StudyInstanceUID.
        description: SeriesDescription, for people.
        datasets: headers of its files, without pixels; `filename` is the file.
        obstacle: why it cannot be segmented, or `None`.
    """

    uid: str
    study: str
    description: str
    datasets: tuple[Dataset, ...]
    obstacle: str | None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"Series {self.uid} ({self.description or 'without description'})"

    @property
    def summary(self) -> str:
        """A line that lists it."""
        count = sum(int(each.get("NumberOfFrames") or 1) for each in self.datasets)
        agent = ", contrast agent" if self.datasets[0].get("ContrastBolusAgent") else ""
        what = f"{count} slices{agent}, {self.description or 'without description'}"
        return f"{self.uid}: {what}" + (f" – {self.obstacle}" if self.obstacle else "")


@ignoring_odd_values()
def find_series(
    files: Sequence[Path],
) -> tuple[list[FoundSeries], dict[Path, str], dict[Path, str]]:
    """The series among files, each once.

    Args:
        files: that look like DICOM.

    Returns:
        The series; why other files are no images; and why others cannot be read.
    """
    groups: dict[str, list[Dataset]] = defaultdict(list)
    others, damaged = dict[Path, str](), dict[Path, str]()
    for file in files:
        try:
            with reading(file):
                dataset = open_dicom(file, stop_before_pixels=True)
        except InputError as error:
            damaged[file] = str(error)
            continue
        dataset.filename = str(file)
        if obstacle := _why_no_image(dataset):
            others[file] = f"{printable(file)} {obstacle}"
            continue
        groups[str(dataset.get("SeriesInstanceUID") or file.parent)].append(dataset)
    series = [
        FoundSeries(
            uid,
            str(found[0].get("StudyInstanceUID", "")),
            "".join(filter(str.isprintable, str(found[0].get("SeriesDescription", "")))).strip(),
            tuple(found),
            _why_unfit(found),
        )
        for uid, found in ((uid, _distinct(group)) for uid, group in groups.items())
    ]
    return sorted(series, key=lambda each: each.uid), others, damaged


def choose_series(
    series: Sequence[FoundSeries], chosen: Sequence[str]
) -> tuple[list[FoundSeries], dict[str, str]]:
    """The series to segment, and by name of a study or series why others are not.

    Args:
        series: that were found.
        chosen: UIDs; where there is none, the series of each study is taken that fits, if it is
            the only one.
    """
    if chosen:
        return _choose_named(series, chosen)
    taken, refused = list[FoundSeries](), dict[str, str]()
    studies: dict[str, list[FoundSeries]] = defaultdict(list)
    for each in series:
        studies[each.study].append(each)
    for study, found in studies.items():
        fitting = [each for each in found if each.obstacle is None]
        listed = "\n".join(f"  {each.summary}" for each in found)
        name = f"Study {study or 'without UID'}"
        if len(fitting) == 1:
            taken += fitting
        elif fitting:
            refused[name] = (
                f"{name} has {len(fitting)} series that fit. Choose with --series UID:\n{listed}"
            )
        else:
            refused[name] = f"{name} has no series of MR slices:\n{listed}"
    return taken, refused


def tell_others(others: dict[Path, str]) -> str | None:
    """A sentence on files of a folder that are no images; `None` where there are none."""
    if not others:
        return None
    return f"DICOM files without an image: {name_some(others.values())}"


def _choose_named(
    series: Sequence[FoundSeries], chosen: Sequence[str]
) -> tuple[list[FoundSeries], dict[str, str]]:
    by_uid = {each.uid: each for each in series}
    listed = "\n".join(f"  {each.summary}" for each in series)
    refused = {
        uid: f"There is no series {uid}. Found:\n{listed}" for uid in chosen if uid not in by_uid
    }
    named = [by_uid[uid] for uid in chosen if uid in by_uid]
    refused |= {
        each.name: f"{each.name} cannot be segmented: it {each.obstacle}."
        for each in named
        if each.obstacle
    }
    return [each for each in named if not each.obstacle], refused


def _why_no_image(dataset: Dataset) -> str | None:
    kind = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if kind in NO_PIXELS:
        return NO_PIXELS[kind]
    if dataset.get("Modality") == "SEG":
        return "is a segmentation, no image"
    return None if "Rows" in dataset else "has no pixels"


def _distinct(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Each image once; a copy of a file has the same UID and place."""
    keys = ("SOPInstanceUID", "ImagePositionPatient")
    return list({tuple(str(each.get(key)) for key in keys): each for each in datasets}.values())


def _why_unfit(datasets: Sequence[Dataset]) -> str | None:
    dataset = datasets[0]
    kind = str(dataset.get("SOPClassUID", ""))
    modality = dataset.get("Modality") or ("MR" if kind.startswith(MR_STORAGE) else "unknown")
    if modality != "MR":
        return f"is of modality {modality}; expected MR"
    kinds = {str(word).upper() for word in dataset.get("ImageType") or ()}
    if kinds & set(NO_SLICES) or "LOCALIZER" in str(dataset.get("SeriesDescription", "")).upper():
        return "is a localizer"
    if kind.startswith(SECONDARY_CAPTURE):
        return "is a secondary capture, a picture of a screen"
    for name in NEEDED:
        if not all(each.get(name) for each in datasets):
            return f"has no {name}, which its segmentation has to refer to"
    if len({each.SOPInstanceUID for each in datasets}) < len(datasets):
        return "has images with the same SOPInstanceUID"
    if not are_parallel([read_numbers(each, DIRECTIONS, 6) for each in datasets]):
        return "has slices in several directions, as a localizer does"
    return None
