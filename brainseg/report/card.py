"""A model card of a run: what it is, how well it does on what, and what it is not for."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from brainseg import __version__, vocabulary
from brainseg.experiment import find_evaluations
from brainseg.files import write_text
from brainseg.report.external import external_table
from brainseg.report.provenance import (
    LIMITS,
    data_statements,
    describe_network,
    machine_statements,
    training_statements,
)
from brainseg.report.render import Table, to_markdown
from brainseg.report.rows import TableRow, decimals
from brainseg.report.scores import score_table
from brainseg.report.summary import summarize
from brainseg.rows import read_rows
from brainseg.run import Run
from brainseg.vocabulary import CHECKPOINT

TEMPLATE = Path(__file__).with_name("card_template.md")


def write_card(run: Run) -> None:
    """Write `card.md` of a run that was scored; none is written for others."""
    if card := make_card(run):
        write_text(run.card, card)


def make_card(run: Run, mode: str = CHECKPOINT) -> str | None:
    """The text of a run's card; `None` where it was not scored.

    The front matter is what the Hugging Face hub reads
    (https://huggingface.co/docs/hub/model-cards).

    Args:
        run: as it lies on this machine.
        mode: whose scores it tells. The card of any mode but the checkpoint is for other people: it
            has the use of that file alone, and of paths only the last name.
    """
    if not (run.metrics_of(mode).exists() and run.config.exists()):
        return None
    config, metrics = run.read_config(), run.read(run.metrics_of(mode))
    card = ModelCard.from_template(
        _front_matter(run, config, metrics),
        template_path=str(TEMPLATE),
        **_content(run, mode, config, metrics),
    )
    return str(card) if mode == CHECKPOINT else _shorten_paths(str(card), run)


def _shorten_paths(text: str, run: Run) -> str:
    """The text with the last name of each path that the run's settings and evaluations name."""
    evaluations = (found.read(found.evaluation)["data"] for found in find_evaluations(run))
    paths = {each for each in _strings([run.read_config(), *evaluations]) if "/" in each}
    for path in sorted(paths, key=len, reverse=True):
        if name := PurePath(path).name.strip("."):
            text = text.replace(path, name)
    return text


def _strings(value: Any) -> Iterator[str]:
    """Every text in plain JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(each)


def _content(
    run: Run, mode: str, config: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    calibration, alone = metrics.get("calibration") or {}, {run.name: [run]}
    results, others, modes = (
        to_markdown(table.without(["Variant"])) if table.rows else ""
        for table in (score_table(alone, mode), external_table(alone), _mode_table(run))
    )
    return {
        "name": run.name,
        "mode": mode,
        "version": __version__,
        "synthetic": config["data"].get("name") == "phantom",
        "network": describe_network(config["model"]),
        "attention": config["model"].get("attention"),
        "size": config["data"]["image_size"],
        "model": run.read(run.model) if run.model.exists() else None,
        "data": list(data_statements([run])),
        "results": results,
        "ece": decimals(calibration.get("ece")),
        "ece_uncertain": decimals(calibration.get("ece_uncertain")),
        "others": others,
        "modes": modes,
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
            dataset_type=data or "unknown",
            dataset_name=data or "unknown",
            dataset_split="test",
            metric_type=name,
            metric_name=metric.sentence,
            metric_value=metrics[name],
        )
        for name, metric in vocabulary.METRICS.items()
        if metrics.get(name) is not None and name not in void
    ]
    tags = ["medical", "mri", "brain-tumor", "onnx"]
    return ModelCardData(
        library_name="brainseg",
        pipeline_tag="image-segmentation",
        tags=[*tags, f"attention-{attention}"] if attention else tags,
        model_name=run.name,
        eval_results=results,
    )


def _mode_table(run: Run) -> Table:
    """What was measured of each mode, one image at a time."""
    measured = [row for row in read_rows(run) if row.status == "ok" and row.batch == 1]
    return summarize([TableRow(run=run.name, variant=run.name, **asdict(row)) for row in measured])
