"""The series of a study, as an archive lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brainseg.predict.dicom_study import NO_SLICES

UID_OF_SERIES, UID_OF_IMAGE = "0020000E", "00080018"


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
        described = self.description.upper()
        return self.modality == "MR" and not any(word in described for word in NO_SLICES)

    @property
    def summary(self) -> str:
        """A line that lists it."""
        described = self.description or "without description"
        return f"  {self.uid}: {self.images} images, {self.modality}, {described}"


def read_listed(item: dict[str, Any]) -> Listed:
    """A series from DICOM's JSON."""
    number = read_text(item, "00201209")
    return Listed(
        read_text(item, UID_OF_SERIES),
        read_text(item, "00080060"),
        "".join(filter(str.isprintable, read_text(item, "0008103E"))),
        int(number) if number.isdigit() else 0,
    )


def read_parts(
    search: Callable[..., list[dict[str, Any]]], tag: str, expected: int = 0
) -> list[dict[str, Any]]:
    """All that an archive lists, which it may do in parts.

    Args:
        search: asks the archive; `offset` is how many it has listed already.
        tag: of the UID that tells them apart.
        expected: how many there are; 0 where that is not known.
    """
    listed: dict[str, dict[str, Any]] = {}
    while True:
        known = len(listed)
        listed |= {read_text(each, tag): each for each in search(offset=known or None)}
        if len(listed) >= expected > 0 or len(listed) == known:
            return list(listed.values())


def read_text(item: dict[str, Any], tag: str) -> str:
    """The first value of an element in DICOM's JSON, empty where there is none."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
