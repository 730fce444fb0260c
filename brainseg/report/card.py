"""A model card of a run: what it is, how well it does on what, and what it is not for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from brainseg import __version__
from brainseg.files import read_json, write_text
from brainseg.report.external import tell_external
from brainseg.report.provenance import (
    LIMITS,
    data_statements,
    machine_statements,
    training_statements,
)
from brainseg.report.render import markdown_table
from brainseg.report.rows import (
    NOTHING,
    Row,
    name_device,
    name_mode,
    signed,
    threads_vary,
    varying_options,
)
from brainseg.report.scores import COLUMNS, external_rows, score_rows
from brainseg.run import Run

TEMPLATE = Path(__file__).with_name("card_template.md")

METRICS = {
    "mean_iou": "Mean IoU of background and tumour",
    "tumor_iou": "Tumour IoU",
    "dice": "Dice of images with tumour",
    "detection_rate": "Share of images with tumour where the prediction meets it",
    "false_positive_rate": "Share of images without tumour with a false alarm",
}
"""Those of `metrics.json` that stand in the front matter, and what people call them."""

MODE_COLUMNS = (
    *("Mode", "Device", "Size, MiB", "Mean IoU", "Δ mean IoU", "Dice", "Latency, ms", "Note"),
)


OTHER_COLUMNS = ("Data", "Mode", *COLUMNS)
TEXTUAL = ("Mode", "Device", "Note")


def write_card(run: Run) -> None:
    """Write `card.md` of a run, where it was scored; none is written for others.

    The front matter is what the Hugging Face hub reads
    (https://huggingface.co/docs/hub/model-cards).
    """
    if not (run.metrics.exists() and run.config.exists()):
        return
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(run.card, template.render(**_content(run)))


def _content(run: Run) -> dict[str, Any]:
    config, metrics = run.read_config(), read_json(run.metrics)
    model = read_json(run.model) if run.model.exists() else {}
    calibration = metrics.get("calibration") or {}
    rows = read_json(run.deploy) if run.deploy.exists() else []
    others = external_rows(run)
    return {
        "front_matter": _front_matter(run, config, metrics),
        "name": run.name,
        "version": __version__,
        "synthetic": config["data"].get("name") == "phantom",
        "encoder": config["model"]["encoder"],
        "attention": config["model"]["attention"],
        "size": config["data"]["image_size"],
        "parameters": _scaled(model.get("parameters"), 1e6),
        "multiply_adds": _scaled(model.get("multiply_adds"), 1e9),
        "data": list(data_statements([run])),
        "results": markdown_table(COLUMNS, score_rows(metrics), ["Class"]),
        "ece": _decimals(calibration.get("ece")),
        "ece_uncertain": _decimals(calibration.get("ece_uncertain")) or NOTHING,
        "others": markdown_table(OTHER_COLUMNS, others, OTHER_COLUMNS[:3]) if others else None,
        "told": list(tell_external({run.name: [run]})),
        "modes": markdown_table(MODE_COLUMNS, _mode_rows(rows), TEXTUAL) if rows else None,
        "training": [*training_statements([run]), f"Seed {config['seed']}."],
        "machines": list(machine_statements([run])),
        "limits": LIMITS,
    }


def _front_matter(run: Run, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    data = config["data"].get("name")
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type=key,
            metric_name=name,
            metric_value=metrics[key],
        )
        for key, name in METRICS.items()
        if metrics[key] is not None and (metrics["n_tumor"] or key not in ("mean_iou", "tumor_iou"))
    ]
    card = ModelCardData(
        library_name="brainseg",
        pipeline_tag="image-segmentation",
        tags=["medical", "mri", "brain-tumor", "onnx", f"attention-{config['model']['attention']}"],
        model_name=run.name,
        eval_results=results,
    )
    return card.to_yaml()


def _mode_rows(rows: Sequence[Row]) -> list[list[str]]:
    """A row per mode, runtime and device that was measured one image at a time."""
    varying, threads = varying_options(rows), threads_vary(rows)
    return [
        [
            name_mode(row, varying),
            name_device(row, threads),
            _decimals(row["size_bytes"] and row["size_bytes"] / 2**20, 1) or NOTHING,
            _decimals(row["mean_iou"]) or NOTHING,
            NOTHING if row["delta_mean_iou"] is None else signed(row["delta_mean_iou"]),
            _decimals(row["dice"]) or NOTHING,
            _decimals((row["latency_ms"] or {}).get("p50"), 1) or NOTHING,
            "noisy" if row["noisy"] else "",
        ]
        for row in rows
        if row["status"] == "ok" and row["batch"] == 1
    ]


def _scaled(count: int | None, unit: float) -> str | None:
    return None if count is None else f"{count / unit:.2f}"


def _decimals(value: float | None, digits: int = 4) -> str | None:
    return None if value is None else f"{value:.{digits}f}"
