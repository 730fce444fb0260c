"""How a network is used: what `brainseg predict` can be told."""

from dataclasses import dataclass

from brainseg.data.layouts.nifti import AXES
from brainseg.errors import InputError, check_known
from brainseg.vocabulary import BEST

TTA = ("none", "flips")
"""Ways of test-time augmentation."""


@dataclass(frozen=True)
class Settings:
    """How images are read and segmented.

    Attributes:
        threshold: probability from which a pixel is tumour.
        tta: `flips` averages over the image and its three mirror images, for four times the time.
        min_area: connected parts of a mask with fewer pixels are left out.
        keep_aspect: pad an image to a square rather than squeeze it to one; `None`: as the network
            was trained.
        batch: slices per pass.
        plane: across which NIfTI volumes are cut into slices, one of `AXES`.
        channel: of a NIfTI file with four dimensions, from 0.
        series: UIDs of the DICOM series to take; empty: the one of a study that fits.
        secondary_capture: whether overlays of DICOM series are written as DICOM too.
    """

    threshold: float = 0.5
    tta: str = "none"
    min_area: int = 0
    keep_aspect: bool | None = None
    batch: int = 1
    plane: str = "axial"
    channel: int | None = None
    series: tuple[str, ...] = ()
    secondary_capture: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: a value is out of its range.
        """
        check_known("plane", [self.plane], AXES)
        check_known("test-time augmentation", [self.tta], TTA)
        if not 0 < self.threshold < 1:
            raise InputError(f"Expected a threshold between 0 and 1; found {self.threshold}.")
        if self.batch < 1 or self.min_area < 0:
            raise InputError(
                "Expected a batch of 1 or more and an area of 0 or more; found "
                f"{self.batch} and {self.min_area}."
            )


def parse_threshold(given: str | float) -> float:
    """A threshold that was typed, where that is not `BEST`.

    Raises:
        InputError: it is no number.
    """
    try:
        return float(given)
    except ValueError:
        raise InputError(
            f"Expected a threshold between 0 and 1, or {BEST}; found {given}."
        ) from None
