"""What segmented an image, as results name it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Algorithm:
    """What segmented a series, as a DICOM-SEG names it.

    Attributes:
        version: of brainseg.
        network: name of the file and the beginning of its hash.
        settings: that were not the default ones, by name.
    """

    version: str
    network: str
    settings: dict[str, str]
