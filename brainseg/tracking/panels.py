"""What a dashboard shows: W&B's workspace and report of an experiment, built without a server."""

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from brainseg.tracking.mirror import direction
from brainseg.tracking.wandb_run import CURVES, STEP
from brainseg.vocabulary import METRICS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the package's own, of pydantic
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

COSTS = {"latency_p50_ms": "ms per image", "size_mib": "MiB", "delta_mean_iou": "against fp32"}
"""Numbers of the deploy rows that are compared as bars, and their units."""

TABLES = ("deploy", "classes", "cases")

WIDE = wr.Layout(w=24, h=10)
"""All of a report's width."""

SHOWN_RUNS = 100
LONGEST_TITLE = 128


@dataclass(frozen=True)
class Target:
    """The runs of an experiment (W&B's `group`) on the server.

    `variant` is the key of their configuration that holds what is compared: `model.attention`.
    """

    entity: str
    project: str
    group: str
    variant: str


def workspace(target: Target, keys: Collection[str]) -> ws.Workspace:
    """The workspace of `target`, not saved yet: panels for `keys`, the names of what was logged."""
    sections = [
        ws.Section(name=name, panels=panels, is_open=True)
        for name, panels in _sections(target, keys).items()
    ]
    return ws.Workspace(
        entity=target.entity,
        project=target.project,
        name=_title(target),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=SHOWN_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=_filter(target), pinned_columns=_columns(target, keys)
        ),
    )


def report(target: Target, keys: Collection[str], text: Sequence[str]) -> wr.Report:
    """The report, not saved yet: paragraphs of `text`, the workspace's panels, a table of runs."""
    runs = wr.Runset(
        entity=target.entity,
        project=target.project,
        name=target.group,
        filters=_filter(target),
        pinned_columns=_columns(target, keys),
    )
    blocks: list[Any] = [wr.P(line) for line in text]
    for name, panels in _sections(target, keys).items():
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels, hide_run_sets=True)]
    return wr.Report(
        entity=target.entity,
        project=target.project,
        title=_title(target),
        blocks=[*blocks, wr.H2("Runs"), wr.PanelGrid(runsets=[runs])],
        width="fluid",
    )


def _title(target: Target) -> str:
    return f"brainseg {target.group}"[:LONGEST_TITLE]


def _filter(target: Target) -> str:
    """As text: the package does not escape quotes in a name."""
    return f'Metric("Group") == {target.group!r}'


def _columns(target: Target, keys: Collection[str]) -> list[str]:
    group, *inner = target.variant.split(".")
    variant = ".".join([f"config:{group}", "value", *inner])
    scores = [f"test/{name}" for name in METRICS if f"test/{name}" in keys]
    return ["run:displayName", variant, *(f"summary:{name}" for name in scores)]


def _sections(target: Target, keys: Collection[str]) -> dict[str, list[Any]]:
    """Panels by the name of their section; a section without a panel is left out."""
    grouped: dict[str, Any] = {  # a line or bar per variant: the mean of its runs, and their range
        "groupby": wr.Config(target.variant),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "minmax",
    }
    sections: dict[str, list[Any]] = {
        "Learning curves": [
            wr.LinePlot(title=key, x=STEP, y=[key], **grouped) for key in CURVES if key in keys
        ],
        "Test": [
            wr.BarPlot(title=title, metrics=names, **grouped)
            for title, names in _test_charts(keys).items()
        ],
        "Deploy: accuracy against latency": _scatters(keys),
        "Deploy: cost": [
            wr.BarPlot(title=what, title_x=unit, metrics=[*of], **grouped)
            for what, unit in COSTS.items()
            if (of := [key for key in keys if re.match(f"deploy/.*/{what}$", key)])
        ],
        "Tables": [
            wr.WeavePanelSummaryTable(table_name=key, layout=WIDE) for key in TABLES if key in keys
        ],
        "Overlays": [
            wr.MediaBrowser(media_keys=[key], num_columns=4, layout=WIDE)
            for key in {"overlays"}.intersection(keys)
        ],
    }
    return {name: panels for name, panels in sections.items() if panels}


def _test_charts(keys: Collection[str]) -> dict[str, list[Any]]:
    """The numbers of each chart of test scores, by its title."""
    overall = [key for key in keys if key.startswith("test/") and key.count("/") == 1]
    classes = [key for key in keys if key.startswith("test/classes/") and key.endswith("/dice")]
    charts: dict[str, list[Any]] = {key: [key] for key in overall if direction(key)}
    return charts | ({"Dice by class": classes} if classes else {})


def _scatters(keys: Collection[str]) -> list[Any]:
    """All rows in one chart, from their table; then one per place and mode, with a dot per run."""
    places = dict.fromkeys(key.rpartition("/")[0] for key in keys if key.startswith("deploy/"))
    dots = [
        wr.ScatterPlot(
            title=place.removeprefix("deploy/"),
            x=wr.SummaryMetric(f"{place}/latency_p50_ms"),
            y=wr.SummaryMetric(f"{place}/mean_iou"),
        )
        for place in places
        if {f"{place}/latency_p50_ms", f"{place}/mean_iou"} <= set(keys)
    ]
    if dots and "deploy" in keys:
        every_row = wr.CustomChart(  # W&B's own preset, as `wandb.plot.scatter` uses it
            query={"summaryTable": {"tableKey": "deploy"}},
            chart_name="wandb/scatter/v0",
            chart_fields={"x": "latency_ms/p50", "y": "mean_iou"},
            chart_strings={"title": "All modes: mean IoU against ms per image"},
        )
        return [every_row, *dots]
    return dots
