"""Latency against threads of the CPU: one panel per variant, one line per mode and runtime."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg.report.figures import style
from brainseg.report.points import Point

TITLE = "Latency against threads of the CPU"
CAPTION = (
    "Median latency of one image, means over the seeds; each line is of one timing session. Both "
    "axes are logarithmic. Colour and filled part of the marker: the mode; shape: the runtime; "
    "broken line: another precision or other options. Dotted: what fp32 with onnxruntime would "
    "take if its time halved with twice the threads; a line as steep makes full use of them."
)

BREAKS = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""Lines of one mode and runtime with other options, in their order."""

IDEAL: style.Style = {"color": "#777777", "linewidth": 0.9, "linestyle": ":", "zorder": 1}


class Line(NamedTuple):
    """A configuration, and its latency in ms by number of threads."""

    point: Point
    latencies: Mapping[int, float]


@style.styled
def draw(points: Sequence[Point]) -> style.Drawing | None:
    """Draw what a session timed with several numbers of threads, or nothing where none did."""
    lines = find_lines(points)
    if not lines:
        return None
    told = [
        f"{line.point.rows[0].variant} {line.point.brief}: "
        + ", ".join(f"{ms:.1f} ms with {threads}" for threads, ms in line.latencies.items())
        for line in lines
    ]
    alt = f"Median latency of one image by number of threads. {'; '.join(told)}."
    return style.Drawing(_make_figure(lines), alt)


def find_lines(points: Sequence[Point]) -> list[Line]:
    """Each configuration that one session timed on the CPU with two numbers of threads or more."""
    found: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.rows[0].device == "cpu":
            found[point.rows[0].variant, point.name].append(point)
    lines = [Line(alike[0], _latencies(alike)) for alike in found.values()]
    return [line for line in lines if len(line.latencies) > 1]


def _latencies(points: Sequence[Point]) -> dict[int, float]:
    """By number of threads, in the session with most of them: machines change between sessions."""
    sessions: dict[str | None, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in (row for point in points for row in point.rows):
        if row.median_ms is not None and row.threads:
            sessions[row.session][row.threads].append(row.median_ms)
    times = max(sessions.values(), key=len, default={})
    return {threads: fmean(times[threads]) for threads in sorted(times)}


def _make_figure(lines: Sequence[Line]) -> Figure:
    variants = list(dict.fromkeys(line.point.rows[0].variant for line in lines))
    numbers = sorted({threads for line in lines for threads in line.latencies})
    looks = _looks_of(lines)
    columns, depth = min(4, len(variants)), -(-len(variants) // 4)
    size = (max(1.2 + 2.6 * columns, 7.0), 1.9 + 3.2 * depth)
    figure = Figure(figsize=size, layout="constrained")
    (part,) = figure.subfigures(1, 1, squeeze=False).flat  # its labels stand above the legend
    panels = part.subplots(depth, columns, sharex=True, sharey=True, squeeze=False)
    grid = style.use(panels, len(variants))
    for axes, variant in zip(grid, variants, strict=True):
        axes.set_title(variant)
        _draw_lines(axes, [each for each in lines if each.point.rows[0].variant == variant], looks)
    for axes in grid:
        style.scale_log(axes, "y")
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, map(str, numbers))
        axes.set_xticks([], minor=True)
    part.supxlabel("threads")
    part.supylabel("median latency of one image, ms")
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    handles.append(Line2D([], [], label="half the time with twice the threads", **IDEAL))
    style.add_legend(figure, handles, min(4, columns + 1), handlelength=4)
    return figure


def _looks_of(lines: Sequence[Line]) -> dict[str, style.Style]:
    """By name of the configuration; each differs from every other one's."""
    rows = {line.point.brief: line.point.rows[0] for line in lines}
    alike: Counter[tuple[str | None, str | None]] = Counter()
    looks = {}
    for name, row in rows.items():
        line = {"linestyle": BREAKS[alike[row.mode, row.runtime] % len(BREAKS)], "linewidth": 1.4}
        looks[name] = style.mode_marker(row.mode, style.runtime_marker(row.runtime), 7) | line
        alike[row.mode, row.runtime] += 1
    return looks


def _draw_lines(axes: Axes, lines: Sequence[Line], looks: Mapping[str, style.Style]) -> None:
    style.add_grid(axes)
    for point, latencies in lines:
        threads, times = list(latencies), list(latencies.values())
        axes.plot(threads, times, **looks[point.brief])
        if point.is_reference:
            axes.plot(threads, [times[0] * threads[0] / number for number in threads], **IDEAL)
