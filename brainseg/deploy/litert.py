"""A checkpoint becomes `.tflite` files, as LiteRT takes them: fp32, and dynamic range in 8 bits.

The converter (litert-torch) runs in a process of its own: it loads JAX, and writes of its progress.
"""

import logging
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from brainseg.benchmark.plan import TimingPlan
from brainseg.errors import InputError
from brainseg.files import replacing
from brainseg.run import Run
from brainseg.runtime.open import open_session, runtimes_on
from brainseg.vocabulary import REFERENCE, RUNTIMES

RUNTIME = "litert"

CONVERTERS = ("litert_torch", "ai_edge_quantizer")

logger = logging.getLogger(__name__)


def convert_all(runs: Iterable[Run], plan: TimingPlan) -> None:
    """Convert what a plan wants to time in LiteRT; a run that cannot be converted is named."""
    if "cpu" not in plan.devices or RUNTIME not in runtimes_on("cpu", plan.runtimes):
        return
    for run in runs:
        try:
            convert(run, [mode for mode in plan.modes if run.is_current(mode)])
        except InputError as error:
            logger.warning("Not converted: %s", error)


def convert(run: Run, modes: Sequence[str]) -> list[Path]:
    """Make the `.tflite` files of a run that are not up to date.

    Args:
        run: exported, with its checkpoint.
        modes: of which LiteRT has a file each, where it has that mode.

    Returns:
        The files that were made.

    Raises:
        InputError: the converter is not installed, or failed; or the checkpoint is missing.
    """
    wanted = [mode for mode in RUNTIMES[RUNTIME].modes if mode in {REFERENCE, *modes}]
    missing = [mode for mode in wanted if not run.is_converted(mode, RUNTIME)]
    for mode in missing:
        logger.info("Converting %s to %s …", mode, run.network(mode, RUNTIME).name)
        _make(run, mode)
    return [run.network(mode, RUNTIME) for mode in missing]


def _make(run: Run, mode: str) -> None:
    """fp32 from the checkpoint; dynamic range, which quantizes weights only, from that."""
    if lacking := [name for name in CONVERTERS if find_spec(name) is None]:
        raise InputError(f"{lacking[0]} is not installed: install LiteRT with `make litert`.")
    with replacing(run.network(mode, RUNTIME)) as target:
        if mode == REFERENCE:
            _work("to_litert", run.path, target)
        else:
            _work("quantize_litert", run.network(REFERENCE, RUNTIME), target)
    run.note_made(mode, RUNTIME, options={})
    if mode == REFERENCE:
        from brainseg.deploy.export import check_parity  # heavy, as is torch
        from brainseg.model.checkpoint import load_network

        session = open_session(run.network(mode, RUNTIME), threads=1, runtime=RUNTIME)
        parity = check_parity(run, load_network(run), session)
        run.note_made(mode, RUNTIME, options={}, parity=parity)


def _work(module: str, source: Path, target: Path) -> None:
    python = (sys.executable, "-W", "ignore", "-m", f"brainseg.deploy.{module}")
    command = [*python, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise InputError(f"{source} could not be converted to LiteRT: {(said or ['?'])[-1][:500]}")
