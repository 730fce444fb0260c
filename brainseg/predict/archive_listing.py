"""The series of a study, as an archive lists them."""

from dataclasses import dataclass
from typing import Any

NO_MR = ("LOCALIZER", "SCOUT", "SURVEY")
"""Words in the description of series that are no slices through a head."""


@dataclass(frozen=True)
class Listed:
    """A series, as the archive lists it."""

    uid: str
    modality: str
    description: str
    images: int

    @property
    def fits(self) -> bool:
        """Whether it can be meant where none is named."""
        return self.modality == "MR" and not any(word in self.description.upper() for word in NO_MR)

    @property
    def summary(self) -> str:
        """A line that lists it."""
        described = self.description or "without description"
        return f"  {self.uid}: {self.images} images, {self.modality}, {described}"


def read_listed(item: dict[str, Any]) -> Listed:
    """A series from DICOM's JSON."""
    number = read_text(item, "00201209")
    return Listed(
        read_text(item, "0020000E"),
        read_text(item, "00080060"),
        "".join(filter(str.isprintable, read_text(item, "0008103E"))),
        int(number) if number.isdigit() else 0,
    )


def read_text(item: dict[str, Any], tag: str) -> str:
    """The first value of an element in DICOM's JSON, empty where there is none."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
