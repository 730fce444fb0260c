"""A model card of a run: what it is, how well it does on what, and what it is not for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from brainseg import __version__, vocabulary
from brainseg.files import read_json, write_text
from brainseg.report.external import tell_external
from brainseg.report.provenance import (
    LIMITS,
    data_statements,
    describe_network,
    machine_statements,
    training_statements,
)
from brainseg.report.render import markdown_table
from brainseg.report.rows import (
    NOTHING,
    name_device,
    name_mode,
    signed,
    threads_vary,
    varying_options,
)
from brainseg.report.scores import external_rows, score_columns, score_rows
from brainseg.rows import Row, read_rows
from brainseg.run import Run

TEMPLATE = Path(__file__).with_name("card_template.md")

MODE_COLUMNS = (
    *("Mode", "Device", "Size, MiB", "Mean IoU", "Δ mean IoU", "Dice", "Latency, ms", "Note"),
)
TEXTUAL = ("Mode", "Device", "Note")


def write_card(run: Run) -> None:
    """Write `card.md` of a run that was scored; none is written for others.

    The front matter is what the Hugging Face hub reads
    (https://huggingface.co/docs/hub/model-cards).
    """
    if not (run.metrics.exists() and run.config.exists()):
        return
    config, metrics = run.read_config(), read_json(run.metrics)
    card = ModelCard.from_template(
        _front_matter(run, config, metrics),
        template_path=str(TEMPLATE),
        **_content(run, config, metrics),
    )
    write_text(run.card, str(card))


def _content(run: Run, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    model = read_json(run.model) if run.model.exists() else {}
    calibration = metrics.get("calibration") or {}
    rows, others = read_rows(run), external_rows(run)
    columns, other_columns = score_columns(), ["Data", "Mode", *score_columns()]
    return {
        "version": __version__,
        "synthetic": config["data"].get("name") == "phantom",
        "network": describe_network(config["model"]),
        "attention": config["model"].get("attention"),
        "size": config["data"]["image_size"],
        "parameters": _scaled(model.get("parameters"), 1e6),
        "multiply_adds": _scaled(model.get("multiply_adds"), 1e9),
        "data": list(data_statements([run])),
        "results": markdown_table(columns, score_rows(metrics), columns[:1]),
        "ece": _decimals(calibration.get("ece")),
        "ece_uncertain": _decimals(calibration.get("ece_uncertain")),
        "others": others and markdown_table(other_columns, others, other_columns[:3]),
        "told": list(tell_external({run.name: [run]})),
        "modes": rows and markdown_table(MODE_COLUMNS, _mode_rows(rows), TEXTUAL),
        "training": [*training_statements([run]), f"Seed {config['seed']}."],
        "machines": list(machine_statements([run])),
        "limits": LIMITS,
    }


def _front_matter(run: Run, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> ModelCardData:
    data, attention = config["data"].get("name"), config["model"].get("attention")
    # Without a tumour, IoU says nothing.
    void = () if metrics["n_tumor"] else ("mean_iou", "tumor_iou")
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type=name,
            metric_name=metric.sentence,
            metric_value=metrics[name],
        )
        for name, metric in vocabulary.METRICS.items()
        if metrics.get(name) is not None and name not in void
    ]
    tags = ["medical", "mri", "brain-tumor", "onnx"]
    if attention:
        tags.append(f"attention-{attention}")
    return ModelCardData(
        library_name="brainseg",
        pipeline_tag="image-segmentation",
        tags=tags,
        model_name=run.name,
        eval_results=results,
    )


def _mode_rows(rows: Sequence[Row]) -> list[list[str]]:
    """A row per mode, runtime and device that was measured one image at a time."""
    varying, threads = varying_options(rows), threads_vary(rows)
    return [
        [
            name_mode(row, varying),
            name_device(row, threads),
            _decimals(row.size_bytes and row.size_bytes / 2**20, 1),
            _decimals(row.mean_iou),
            NOTHING if row.delta_mean_iou is None else signed(row.delta_mean_iou),
            _decimals(row.dice),
            _decimals(row.median_ms, 1),
            "noisy" if row.noisy else "",
        ]
        for row in rows
        if row.status == "ok" and row.batch == 1
    ]


def _scaled(count: int | None, unit: float) -> str | None:
    return None if count is None else f"{count / unit:.2f}"


def _decimals(value: float | None, digits: int = 4) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
