"""Networks to per-case scores on the validation and test slices that the run carries with it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from brainseg.data.parts import read_test, read_val, spread, to_input
from brainseg.evaluation.cases import COLUMNS, THRESHOLD, to_uint8
from brainseg.files import write_csv, write_npz
from brainseg.run import Run, place_name
from brainseg.runtime.session import Session
from brainseg.scoring.kept import home_of, note_scored, note_scored_in, source_of
from brainseg.scoring.record import record, record_attention, record_truth, score_part
from brainseg.scoring.scores import Scores
from brainseg.terminal import bar
from brainseg.vocabulary import AGREEING, CHECKPOINT

BATCH = 16
"""Images per pass of the checkpoint."""

logger = logging.getLogger(__name__)

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images N×1×H×W in [0, 1] to probabilities N×1×H×W."""


def score_checkpoint(run: Run, network: nn.Sequential, *, progress: bool = True) -> dict[str, Any]:
    """Score the best checkpoint in torch, on CUDA where it is present.

    Writes what `record` does, the attention's coefficients, and what the true masks look like.

    Args:
        run: a trained run.
        network: its checkpoint, from `load_network`.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        The metrics (SPEC section 8).

    Raises:
        InputError: the run has no test images.
    """
    test = read_test(run)
    record_truth(run, test, progress=progress)
    record_attention(run, network, test)
    found = predict_checkpoint(network, test, progress=progress)
    metrics = record(run, CHECKPOINT, test, found, progress=progress)
    note_scored(run, CHECKPOINT, "torch")
    return metrics


def predict_checkpoint(
    network: nn.Module, part: Mapping[str, NDArray], *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of the images of `part`, from a network of `load_network`.

    In plain fp32, on a GPU where there is one with room. The network is left on the CPU.
    """
    if torch.cuda.is_available():
        try:
            return _predict_on("cuda", network, part, progress)
        except torch.OutOfMemoryError:
            logger.warning("The GPU is full: the CPU scores the checkpoint.")
    return _predict_on("cpu", network, part, progress)


def _predict_on(
    device: str, network: nn.Module, part: Mapping[str, NDArray], progress: bool
) -> NDArray[np.uint8]:
    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        # Without the flag cuDNN would use TF32.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return network(torch.from_numpy(images).to(device)).cpu().numpy()

    try:
        network.to(device)
        return _predict_all(predict, part, BATCH, CHECKPOINT, progress)
    finally:
        network.to("cpu")


def score_mode(run: Run, mode: str, session: Session, *, progress: bool = True) -> Scores:
    """The scores of an exported network in the runtime, device and precision of `session`.

    They are kept with the hash of the network, and computed once. The first ones of a mode are kept
    with all that `record` writes. Elsewhere they are taken over where predictions agree.

    Raises:
        InputError: the run has no validation or test images, or the output is no probability.
    """
    place = place_of(session)
    if not is_settled(run, mode, session, progress=progress):
        _score(run, mode, session, progress)
    return Scores.read(run, mode, place)


def is_settled(run: Run, mode: str, session: Session, *, progress: bool = True) -> bool:
    """Whether the scores of `mode` are known where `session` runs it, if need be by comparing.

    They are where it was scored there, and where on `AGREEING` test images its masks are those of
    the mode's home, to the pixel: then the scores of the home are noted as those of this place.

    Raises:
        InputError: the run has no test images, or the output is no probability.
    """
    place, home = place_of(session), home_of(run, mode)
    if source_of(run, mode, place):
        return True
    if home is None or not _agrees(run, mode, session, progress):
        return False
    note_scored_in(run, mode, place, home)
    return True


def place_of(session: Session) -> str:
    """Where a session runs, as scores are kept by it."""
    return place_name(session.runtime, session.device, session.precision)


def predict_part(
    session: Session, part: Mapping[str, NDArray], what: str, *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of all images of a split.

    One image a pass, as in use: dynamic quantization scales a whole batch at once, and so the
    score of a case would depend on its neighbours.
    """
    return _predict_all(session.run, part, 1, what, progress)


def _score(run: Run, mode: str, session: Session, progress: bool) -> None:
    """Score both splits: at home where the mode has none yet and this is its own arithmetic."""
    place = place_of(session)
    own = session.precision is None and session.path == run.onnx(mode)
    at_home = own and home_of(run, mode) is None
    kept = None if at_home else place
    val, test = read_val(run), read_test(run)
    found = predict_part(session, val, f"{mode} ({place}) on validation", progress=progress)
    write_csv(run.cases(mode, "val", kept), score_part(val, found), COLUMNS)
    found = predict_part(session, test, f"{mode} ({place})", progress=progress)
    if at_home:
        record(run, mode, test, found, progress=progress)
        note_scored(run, mode, place)
    else:
        write_npz(run.predictions(mode, kept), ids=test["ids"], probabilities=found)
        write_csv(run.cases(mode, "test", kept), score_part(test, found), COLUMNS)
        note_scored_in(run, mode, place, place)


def _agrees(run: Run, mode: str, session: Session, progress: bool) -> bool:
    """Whether masks of some test images are those that were predicted at home."""
    if not run.predictions(mode).exists():
        return False
    test = read_test(run)
    rows = spread(len(test["images"]), AGREEING)
    expected = run.read(run.predictions(mode))["probabilities"][rows]
    what = f"{mode} ({place_of(session)}), {len(rows)} images"
    found = predict_part(session, {"images": test["images"][rows]}, what, progress=progress)
    return bool(((found >= THRESHOLD) == (expected >= THRESHOLD)).all())


def _predict_all(
    predict: Predict, part: Mapping[str, NDArray], batch: int, what: str, progress: bool
) -> NDArray[np.uint8]:
    images = part["images"]
    starts = bar(range(0, len(images), batch), f"Scoring {what}", progress)
    return np.concatenate(
        [to_uint8(predict(to_input(images[start : start + batch]))[:, 0]) for start in starts]
    )
