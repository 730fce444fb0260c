"""Networks to per-case scores on the validation and test slices that the run carries with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from brainseg.data.parts import read_test, read_val, to_input
from brainseg.evaluation.cases import COLUMNS, counts_of, read_cases, summarize, to_uint8
from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.metrics import mean_iou, mean_ious
from brainseg.files import write_csv
from brainseg.run import SCORED, Run, place_name
from brainseg.runtime.session import Session
from brainseg.scoring.record import record, record_attention, record_truth, score_part
from brainseg.terminal import bar
from brainseg.vocabulary import CHECKPOINT

BATCH = 16
"""Images per pass of the checkpoint."""

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images N×1×H×W in [0, 1] to probabilities N×1×H×W."""

Cases = list[dict[str, Any]]
"""Rows of `cases.<mode>.csv`."""


@dataclass(frozen=True)
class Scores:
    """The cases of both splits, as one network scored in one place."""

    val: Cases
    test: Cases

    @classmethod
    def read(cls, run: Run, mode: str, place: str | None) -> Self:
        """The scores that are kept of `mode` in a place of `place_name`."""
        return cls(*(read_cases(run.cases(mode, part, place)) for part in SCORED))

    def values(self, baseline: "Scores | None" = None) -> dict[str, Any]:
        """What a row of `deploy.json` says of them.

        Args:
            baseline: those of fp32 in the same place, with which the test cases are compared over
                patients; `None` where they are unknown, or are these.
        """
        metrics = summarize(self.test)
        return {
            **{name: metrics[name] for name in ("mean_iou", "tumor_iou", "dice")},
            "val_mean_iou": mean_iou(counts_of(self.val)),
            "delta_mean_iou_interval": baseline and _interval(baseline.test, self.test),
        }


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
    run.note_scored(CHECKPOINT)
    return metrics


def predict_checkpoint(
    network: nn.Module, part: Mapping[str, NDArray], *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of the images of `part`, from a network of `load_network`.

    The network is left on the CPU.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).cpu().numpy()

    try:
        return _predict_all(predict, part, BATCH, CHECKPOINT, progress)
    finally:
        network.to("cpu")


def score_mode(run: Run, mode: str, session: Session, *, progress: bool = True) -> Scores:
    """The scores of an exported network in the runtime, device and precision of `session`.

    They are kept with the hash of the network, and computed once. In onnxruntime on the CPU all
    that `record` writes is kept too.

    Raises:
        InputError: the run has no validation or test images, or the output is no probability.
    """
    place = place_name(session.runtime, session.device, session.precision)
    if not run.is_scored(mode, place):
        _score(run, mode, session, place, progress)
    return Scores.read(run, mode, place)


def predict_part(
    session: Session, part: Mapping[str, NDArray], what: str, *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of all images of a split.

    One image a pass, as in use: dynamic quantization scales a whole batch at once, and so the
    score of a case would depend on its neighbours.
    """
    return _predict_all(session.run, part, 1, what, progress)


def _score(run: Run, mode: str, session: Session, place: str | None, progress: bool) -> None:
    where = f"{mode} ({place})" if place else mode
    val, test = read_val(run), read_test(run)
    found = predict_part(session, val, f"{where} on validation", progress=progress)
    write_csv(run.cases(mode, "val", place), score_part(val, found), COLUMNS)
    found = predict_part(session, test, where, progress=progress)
    if place is None:
        record(run, mode, test, found, progress=progress)
    else:
        write_csv(run.cases(mode, "test", place), score_part(test, found), COLUMNS)
    run.note_scored(mode, place)


def _interval(baseline: Cases, cases: Cases) -> list[float] | None:
    """How the test score changes, over patients."""
    patients = [case["patient"] for case in cases]
    interval = paired_interval(counts_of(baseline), counts_of(cases), patients, mean_ious)
    return None if interval is None else list(interval)


def _predict_all(
    predict: Predict, part: Mapping[str, NDArray], batch: int, what: str, progress: bool
) -> NDArray[np.uint8]:
    images = part["images"]
    starts = bar(range(0, len(images), batch), f"Scoring {what}", progress)
    return np.concatenate(
        [to_uint8(predict(to_input(images[start : start + batch]))[:, 0]) for start in starts]
    )
