"""A row of `deploy.json`: what a mode costs and what it gives, in one runtime on one device."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import StringConstraints

from brainseg.vocabulary import REFERENCE, REFERENCE_RUNTIME

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*$")]
"""A part of a file's name, which leads into no other folder."""

KEY = ("mode", "options", "runtime", "device", "batch", "threads")
"""What a row is about; there is one row for each combination."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mode in one runtime on one device; what was not measured is `None`.

    Attributes:
        mode: a key of `vocabulary.MODES`.
        options: with which its file was made; `precision` where the runtime was asked for another
            arithmetic than that of the file.
        runtime: a key of `vocabulary.RUNTIMES`.
        device: one of `vocabulary.DEVICES`.
        batch: images per pass.
        threads: of the CPU.
        got: how the runtime runs it: providers or precision; on CUDA graph, layout, TF32, cuDNN,
            and under `without` why a graph or a layout was not to be had.
        status: `ok`, `unavailable` (not to be had on this machine) or `failed`.
        reason: why it is not `ok`.
        network: SHA-256 of the file that was measured.
        size_bytes: of that file.
        size_ratio: to the file of the baseline.
        scores_from: the place whose scores these are, where predictions agreed to the pixel with
            those there; `None` for scores of its own.
        mean_iou: on the test split, as it is computed there.
        tumor_iou: likewise.
        dice: likewise.
        delta_mean_iou: minus that of the baseline; negative is a loss.
        delta_mean_iou_interval: its 95 % interval over patients.
        val_mean_iou: on the validation split.
        delta_val_mean_iou: minus that of the baseline.
        delta_val_mean_iou_interval: its 95 % interval over patients.
        delta_dice: `dice` minus that of the baseline.
        delta_dice_interval: its 95 % interval over patients.
        tost: the 90 % intervals of `delta_mean_iou` on `test` and `delta_val_mean_iou` on `val`:
            two one-sided tests at 5 % within any margin, see `evaluation.equivalence`.
        probability_mae: mean absolute difference of a pixel's probability to the baseline's, on the
            test split, from maps with a resolution of 1/255.
        disagreement: share of those pixels that are on the other side of the threshold.
        parity: largest difference of a probability to the checkpoint's, as the file was exported.
        latency_ms: `p50`, `p90`, `p99` and `mean` of one image, from array to array.
        device_ms: the same of tensors that are on the GPU and stay there, without copies.
        end_to_end_ms: the same from an image file to a mask of its size.
        speedup: against the baseline, median of the ratios within the rounds of one session.
        speedup_interval: its 95 % interval.
        speedup_vs_reference: against the reference.
        passes: rounds in which it was timed.
        placement: share of nodes and of multiply-adds by execution provider.
        kernels: the same by kind of arithmetic.
        memcpy_nodes: copies between devices within the graph.
        load_ms: from the file to the ready session.
        peak_memory_mb: resident memory of a process that does nothing else, MiB; on CPUs.
        session: the timing session, a key of `benchmarks.json`.
        measured_at: when, ISO 8601.
        noisy: whether other processes took part of the CPU, or of the GPU, meanwhile.
    """

    mode: Name
    options: dict[str, Any] = field(default_factory=dict)
    runtime: str = REFERENCE_RUNTIME
    device: str
    batch: int = 1
    threads: int
    got: dict[str, Any] | None = None
    status: str = "ok"
    reason: str | None = None
    network: str | None = None
    size_bytes: int | None = None
    size_ratio: float | None = None
    scores_from: str | None = None
    mean_iou: float | None = None
    tumor_iou: float | None = None
    dice: float | None = None
    delta_mean_iou: float | None = None
    delta_mean_iou_interval: list[float] | None = None
    val_mean_iou: float | None = None
    delta_val_mean_iou: float | None = None
    delta_val_mean_iou_interval: list[float] | None = None
    delta_dice: float | None = None
    delta_dice_interval: list[float] | None = None
    tost: dict[str, list[float] | None] | None = None
    probability_mae: float | None = None
    disagreement: float | None = None
    parity: float | None = None
    latency_ms: dict[str, float] | None = None
    device_ms: dict[str, float] | None = None
    end_to_end_ms: dict[str, float] | None = None
    speedup: float | None = None
    speedup_interval: list[float] | None = None
    speedup_vs_reference: float | None = None
    passes: int | None = None
    placement: dict[str, Any] | None = None
    kernels: dict[str, Any] | None = None
    memcpy_nodes: int | None = None
    load_ms: float | None = None
    peak_memory_mb: float | None = None
    session: str | None = None
    measured_at: str = field(default_factory=_now)
    noisy: bool | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The row of a dictionary; unknown keys are passed over, missing ones are `None`."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})

    @property
    def key(self) -> str:
        """The same for rows about the same."""
        return json.dumps([getattr(self, name) for name in KEY], sort_keys=True)

    @property
    def about(self) -> str:
        """The same for rows that may differ in batch and threads only."""
        key = [self.mode, self.options, self.runtime, self.device, self.network]
        return json.dumps(key, sort_keys=True)

    @property
    def place(self) -> tuple[str, str, int, int]:
        """Where it ran: runtime, device, batch, threads. Rows are compared within."""
        return self.runtime, self.device, self.batch, self.threads

    @property
    def precision(self) -> str | None:
        """The arithmetic that the runtime was asked for, if not that of the file."""
        return self.options.get("precision")

    @property
    def is_baseline(self) -> bool:
        """Whether it is plain fp32, with which others in the same runtime are compared."""
        return self.mode == REFERENCE and not self.options

    @property
    def is_reference(self) -> bool:
        """Whether it is the baseline in `REFERENCE_RUNTIME`, with which all are compared."""
        return self.is_baseline and self.runtime == REFERENCE_RUNTIME

    @property
    def lacks_tost(self) -> bool:
        """Whether it was scored by a brainseg that did not test for equivalence."""
        return self.mean_iou is not None and not self.is_baseline and self.tost is None

    @property
    def median_ms(self) -> float | None:
        """Median latency of one image, ms."""
        return (self.latency_ms or {}).get("p50")


def derive(rows: Iterable[Row]) -> list[Row]:
    """Set what compares a row with its baseline: sizes and scores.

    Speedups are not derived: they are ratios of passes that were measured side by side.
    """
    rows = list(rows)
    baselines = {row.place: row for row in rows if row.is_baseline}
    return [replace(row, **_compare(row, baselines.get(row.place))) for row in rows]


def _compare(row: Row, baseline: Row | None) -> dict[str, Any]:
    def change(name: str) -> float | None:
        value, before = getattr(row, name), getattr(baseline, name, None)
        return None if value is None or before is None else value - before

    size = baseline.size_bytes if baseline else None
    return {
        "size_ratio": row.size_bytes / size if row.size_bytes and size else None,
        "delta_mean_iou": change("mean_iou"),
        "delta_val_mean_iou": change("val_mean_iou"),
        "delta_dice": change("dice"),
    }
