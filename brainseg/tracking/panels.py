"""What a dashboard shows: W&B's workspace and report of an experiment, made without a server."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from brainseg.tracking.mirror import direction
from brainseg.tracking.wandb_run import STEP

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the package's own, of pydantic
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

CURVES = ("val_mean_iou", "val_tumor_iou", "val_loss", "train_loss", "lr", "images_per_second")
COSTS = {"latency_p50_ms": "ms per image", "size_mib": "MiB", "delta_mean_iou": "against fp32"}
"""Numbers of the deploy rows that are compared as bars, with their unit."""

TABLES = ("deploy", "classes", "cases")
PINNED = ("test/mean_iou", "test/tumor_iou", "test/dice")
"""Numbers beside the names of the runs."""

WIDE = wr.Layout(w=24, h=10)
"""All of a report's width."""

SHOWN_RUNS = 100
LONGEST_TITLE = 128


@dataclass(frozen=True)
class Target:
    """Where the runs of an experiment are: W&B's entity, project and group."""

    entity: str
    project: str
    group: str


def workspace(target: Target, keys: Collection[str]) -> ws.Workspace:
    """The workspace of the runs of `target.group`, not saved yet.

    Args:
        target: where it belongs.
        keys: what was logged; there are panels of nothing else.
    """
    sections = [
        ws.Section(name=name, panels=panels, is_open=True)
        for name, panels in _sections(keys).items()
    ]
    return ws.Workspace(
        entity=target.entity,
        project=target.project,
        name=_title(target),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=SHOWN_RUNS),
        runset_settings=ws.RunsetSettings(filters=_filter(target), pinned_columns=_columns(keys)),
    )


def report(target: Target, keys: Collection[str], text: Sequence[str]) -> wr.Report:
    """The report, not saved yet: paragraphs of `text`, the workspace's panels, a table of the runs.

    Only saving needs the server, which looks up the project.
    """
    blocks: list[Any] = [wr.P(line) for line in text]
    for name, panels in _sections(keys).items():
        grid = wr.PanelGrid(runsets=[_runset(target, keys)], panels=panels, hide_run_sets=True)
        blocks += [wr.H2(name), grid]
    blocks += [wr.H2("Runs"), wr.PanelGrid(runsets=[_runset(target, keys)])]
    return wr.Report(
        entity=target.entity,
        project=target.project,
        title=_title(target),
        blocks=blocks,
        width="fluid",
    )


def _title(target: Target) -> str:
    return f"brainseg {target.group}"[:LONGEST_TITLE]


def _filter(target: Target) -> str:
    """As text: the package does not escape quotes in a name."""
    return f'Metric("Group") == {target.group!r}'


def _columns(keys: Collection[str]) -> list[str]:
    numbers = [f"summary:{key}" for key in PINNED if key in keys]
    return ["run:displayName", "config:model.value.attention", *numbers]


def _runset(target: Target, keys: Collection[str]) -> wr.Runset:
    return wr.Runset(
        entity=target.entity,
        project=target.project,
        name=target.group,
        filters=_filter(target),
        pinned_columns=_columns(keys),
    )


def _sections(keys: Collection[str]) -> dict[str, list[Any]]:
    """Panels by the name of their section; a section without a panel is left out."""
    sections = {
        "Learning curves": [_curve(key) for key in CURVES if key in keys],
        "Test": _test_bars(keys),
        "Deploy: accuracy against latency": _scatters(keys),
        "Deploy: cost": _cost_bars(keys),
        "Tables": [
            wr.WeavePanelSummaryTable(table_name=key, layout=WIDE) for key in TABLES if key in keys
        ],
        "Overlays": _galleries(keys),
    }
    return {name: panels for name, panels in sections.items() if panels}


def _curve(key: str) -> wr.LinePlot:
    """A line per attention: the mean of its runs, and their range."""
    return wr.LinePlot(title=key, x=STEP, y=[key], **_by_attention())


def _bars(title: str, metrics: list[Any], unit: str | None = None) -> wr.BarPlot:
    return wr.BarPlot(title=title, metrics=metrics, title_x=unit, **_by_attention())


def _by_attention() -> dict[str, Any]:
    return {
        "groupby": wr.Config("model.attention"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "minmax",
    }


def _test_bars(keys: Collection[str]) -> list[Any]:
    overall = [key for key in keys if key.startswith("test/") and key.count("/") == 1]
    bars = [_bars(key, [key]) for key in overall if direction(key)]
    classes = [key for key in keys if key.startswith("test/classes/") and key.endswith("/dice")]
    return bars + ([_bars("Dice by class", classes)] if classes else [])


def _scatters(keys: Collection[str]) -> list[Any]:
    """All rows in one chart, from their table; then one per place and mode, with a dot per run."""
    timed = [key for key in keys if key.startswith("deploy/") and key.endswith("/latency_p50_ms")]
    places = [key.removesuffix("/latency_p50_ms") for key in timed]
    dots = [
        wr.ScatterPlot(
            title=place.removeprefix("deploy/"),
            x=wr.SummaryMetric(f"{place}/latency_p50_ms"),
            y=wr.SummaryMetric(f"{place}/mean_iou"),
        )
        for place in places
        if f"{place}/mean_iou" in keys
    ]
    return [_all_rows(), *dots] if dots and "deploy" in keys else dots


def _all_rows() -> wr.CustomChart:
    """W&B's own preset of a scatter plot, as `wandb.plot.scatter` makes it."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": "deploy"}},
        chart_name="wandb/scatter/v0",
        chart_fields={"x": "latency_ms/p50", "y": "mean_iou"},
        chart_strings={"title": "All modes: mean IoU against ms per image"},
    )


def _cost_bars(keys: Collection[str]) -> list[Any]:
    costs = {
        what: [key for key in keys if key.startswith("deploy/") and key.endswith(f"/{what}")]
        for what in COSTS
    }
    return [_bars(what, found, COSTS[what]) for what, found in costs.items() if found]


def _galleries(keys: Collection[str]) -> list[Any]:
    overlays = [key for key in keys if key == "overlays"]
    return [wr.MediaBrowser(media_keys=overlays, num_columns=4, layout=WIDE)] if overlays else []
