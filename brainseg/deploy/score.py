"""Networks to per-case scores on the test split that the run carries with it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from brainseg.deploy.export import load_network
from brainseg.deploy.session import Session, open_session
from brainseg.deploy.testset import read_test, to_input
from brainseg.evaluation.cases import COLUMNS, read_cases, score_cases, summarize, to_uint8
from brainseg.files import is_fresh, write_csv, write_json, write_npz
from brainseg.run import CHECKPOINT, Run

BATCH = 16
"""Images per pass of the checkpoint."""

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images N×1×H×W in [0, 1] to probabilities N×1×H×W."""


def score_checkpoint(run: Run, *, progress: bool = True) -> dict[str, Any]:
    """Score the best checkpoint in torch, on CUDA where it is present.

    Writes its predictions, `metrics.json` and `cases.checkpoint.csv`.

    Returns:
        The metrics (SPEC section 8).

    Raises:
        InputError: the run has no configuration, checkpoint or test images.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(run).to(device)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).cpu().numpy()

    test = read_test(run)
    probabilities = _predict_all(predict, test, BATCH, CHECKPOINT, progress)
    metrics = summarize(_write(run, CHECKPOINT, test, probabilities))
    write_json(run.metrics, metrics)
    return metrics


def score(run: Run, mode: str, *, progress: bool = True) -> None:
    """Score `model.<mode>.onnx` in onnxruntime on the CPU.

    Writes `predictions.<mode>.npz` and `cases.<mode>.csv`.

    Raises:
        InputError: the file is missing or damaged, or the run has no test images.
    """
    test = read_test(run)
    session = open_session(run.onnx(mode))
    _write(run, mode, test, predict_test(session, test, mode, progress=progress))


def measure(run: Run, mode: str, session: Session, *, progress: bool = True) -> dict[str, Any]:
    """All values of a row that need no clock: size, placement, loading, parity, accuracy.

    Accuracy is that of the session's own device; what `score` found on the CPU is read again.
    """
    if session.device == "cpu" and is_fresh(run.cases(mode), run.onnx(mode)):
        cases = read_cases(run.cases(mode))
    else:
        test = read_test(run)
        cases = _cases(test, predict_test(session, test, mode, progress=progress))
    metrics = summarize(cases)
    parity = session.metadata.get("parity")
    return {
        "size_bytes": run.onnx(mode).stat().st_size,
        "placement": session.placement,
        "load_ms": session.load_ms,
        "parity": None if parity is None else float(parity),
        **{name: metrics[name] for name in ("mean_iou", "tumor_iou", "dice")},
    }


def predict_test(
    session: Session, test: Mapping[str, NDArray], mode: str, *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of all test images.

    One image a pass, as in use: dynamic quantization scales a whole batch at once, and so the
    score of a case would depend on its neighbours.
    """
    return _predict_all(session.run, test, 1, mode, progress)


def _predict_all(
    predict: Predict, test: Mapping[str, NDArray], batch: int, mode: str, progress: bool
) -> NDArray[np.uint8]:
    images = to_input(test["images"])
    console = Console(stderr=True)
    starts = track(
        range(0, len(images), batch),
        f"Scoring {mode}",
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    return np.concatenate(
        [to_uint8(predict(images[start : start + batch])[:, 0]) for start in starts]
    )


def _cases(test: Mapping[str, NDArray], probabilities: NDArray[np.uint8]) -> list[dict[str, Any]]:
    ids, classes, patients = (test[name].tolist() for name in ("ids", "classes", "patients"))
    return score_cases(ids, classes, patients, probabilities, test["masks"])


def _write(
    run: Run, mode: str, test: Mapping[str, NDArray], probabilities: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    cases = _cases(test, probabilities)
    write_npz(run.predictions(mode), ids=test["ids"], probabilities=probabilities)
    write_csv(run.cases(mode), cases, COLUMNS)  # last: it says that the mode has been scored
    return cases
