"""What mixed precision costs in time, and what it gains."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainseg.report.figures import style
from brainseg.report.rows import signed
from brainseg.report.table import Runs, name_runs
from brainseg.run import Run
from brainseg.vocabulary import REFERENCE, STATIC_MODE

TITLE = "Mixed precision: loss against time"
CAPTION = (
    f"{STATIC_MODE} with its most sensitive activations, and the layers around them, in float. "
    "Number: activations in float. Loss of mean IoU on the validation split, on which the points "
    "are chosen; time of one image over that with everything in 8 bits, all timed side by side, "
    "with 95 % intervals. Filled: the file that was kept. The cross at no loss is fp32."
)
INPUTS = ("made", "config")

Points = Sequence[Mapping[str, Any]]


@style.styled
def draw(runs: Runs) -> style.Drawing | None:
    """Draw a line per run for which points were measured, or nothing where none was."""
    curves = {name: found for name, run in name_runs(runs) if (found := _read(run))}
    if not curves:
        return None
    looks = style.looks_of(curves)
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="black", linewidth=0.9)
    for name, (points, kept) in curves.items():
        look = looks[name]
        times, losses = ([point[key] for point in points] for key in ("time", "loss"))
        axes.plot(times, losses, linewidth=1.2, **look.style)
        for point in points:
            at = point["time"], point["loss"]
            fill = look.colour if point["activations"] == kept else "white"
            interval = point["time_interval"]
            axes.plot(interval, [at[1]] * 2, color=look.colour, linewidth=0.8)
            axes.plot(*at, marker=look.marker, color=look.colour, markerfacecolor=fill)
            axes.annotate(
                str(point["activations"]), at, (0, 6), textcoords="offset points", ha="center"
            )
        axes.plot(points[0]["speedup"], 0, marker="x", markersize=8, color=look.colour)
    axes.set_xlabel("time, 1 is all in 8 bits")
    axes.set_ylabel("loss of mean IoU on validation")
    style.add_grid(axes)
    handles = [
        Line2D([], [], label=name, marker=looks[name].marker, mfc="white", **looks[name].style)
        for name in curves
    ]
    handles.append(Line2D([], [], label=REFERENCE, marker="x", color="black", linestyle="none"))
    style.add_legend(figure, handles, 4, handlelength=4)
    told = [f"{name}: {'; '.join(map(_tell, points))}" for name, (points, _) in curves.items()]
    return style.Drawing(figure, f"Loss on validation against time. {'. '.join(told)}.")


def _read(run: Run) -> tuple[Points, int | None] | None:
    """The points of a run, and how many activations are in float in the file that was kept."""
    made = run.read_made(STATIC_MODE)
    points, network = made.get("curve") or (), run.hash_network(STATIC_MODE)
    is_other = network is not None and network != made.get("network")
    return None if is_other or len(points) < 2 else (points, made.get("activations"))


def _tell(point: Mapping[str, Any]) -> str:
    change = signed(-point["loss"])
    return f"{point['activations']} in float, {point['time']:.2f} times the time, {change}"
