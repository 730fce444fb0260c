"""The shape of `manifest.json` of a package: what else in it needs to know of its network."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from brainseg.vocabulary import PLANES

FORMAT = 1
"""Of the packages that this brainseg writes; raise it when older ones cannot read them."""

Sum = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Level = Annotated[float, Field(gt=0, lt=1)]


class Manifest(TypedDict):
    """`manifest.json`.

    `model` is a file beside it, which takes images of `image_size` pixels a side, and `mode` how it
    was quantized. From a probability of `threshold` on a pixel is tumour; `best_threshold` is that
    with the best score on validation, where it is known. `plane` is the one across which volumes
    are cut, and `keep_aspect` whether images are padded to a square rather than squeezed.
    """

    format: Literal[1]
    name: str
    mode: str
    model: Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*\.onnx$")]
    model_sha256: Sum
    image_size: Annotated[int, Field(gt=0)]
    threshold: Level
    best_threshold: Level | None
    plane: Annotated[str, StringConstraints(pattern=rf"^({'|'.join(PLANES)})$")]
    keep_aspect: bool
    brainseg: str
    notice: str
