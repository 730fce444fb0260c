"""Test cases with the outlines of the truth and of each prediction, as the page shows them."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from brainseg import vocabulary
from brainseg.outline import SIMPLIFIED, to_svg, trace
from brainseg.report.pictures import Key, load_arrays, read_predictions, read_slices
from brainseg.report.selection import Candidate, choose_pictures, drawn_ids, tell_rule
from brainseg.run import Run
from brainseg.terminal import bar
from brainseg.vocabulary import CHECKPOINT, FLOAT_MODES, REFERENCE


@dataclass(frozen=True)
class Layer:
    """What one variant predicts for one case in one mode.

    The outline (see `outline.to_svg`) and its pixels; scores are `None` without a true tumour.
    """

    path: str
    area: int
    dice: float | None
    hd95_px: float | None


@dataclass
class Case:
    """A picture of the test split with the outline of the truth and its pixels.

    Attributes:
        id: unique in a viewer.
        label: the class.
        patient: empty where unknown.
        image: a grey PNG, base64.
        layers: variant to mode to what it predicts; only what was measured.
    """

    id: str
    label: str
    patient: str
    width: int
    height: int
    image: str
    truth: str
    area: int
    layers: dict[str, dict[str, Layer]] = field(default_factory=dict)


@dataclass(frozen=True)
class Viewer:
    """What the page shows: the run of each variant, any mode scored, and how cases were chosen."""

    variants: Sequence[str]
    runs: Mapping[str, str]
    modes: Sequence[str]
    cases: Sequence[Case]
    rule: str


@dataclass(frozen=True)
class _Source:
    """The run shown for a variant, the modes it was scored in, and its pictures in their order."""

    run: Run
    modes: list[str]
    keys: list[Key]


def collect_viewer(runs: Mapping[str, Sequence[Run]], limit: int = 120) -> Viewer | None:
    """Choose test cases, and draw the outlines of the predictions; `None` where none was scored.

    Args:
        runs: each variant's runs in the order of the tables; the first scored one is shown.
        limit: cases at most, not counting those that figures show.
    """
    pictures: dict[Key, Candidate] = {}
    sources = {}
    for variant, members in runs.items():
        run = next((run for run in members if run.test.exists() and _modes(run)), None)
        if run:
            sources[variant] = _read_source(variant, run, pictures)
    if not sources:
        return None
    cases = {key: _draw(pictures[key]) for key in choose_pictures(pictures, limit)}
    steps = [(name, mode) for name, source in sources.items() for mode in source.modes]
    for variant, mode in bar(steps, "Outlines"):
        for key, layer in _draw_layers(sources[variant], mode, cases):
            cases[key].layers.setdefault(variant, {})[mode] = layer
    return Viewer(
        list(sources),
        {variant: source.run.name for variant, source in sources.items()},
        _in_order({mode for _, mode in steps}),
        list(cases.values()),
        f"{tell_rule(len(cases), len(pictures))} {SIMPLIFIED}",
    )


def _modes(run: Run) -> list[str]:
    """The modes that were scored; the checkpoint only where its export was not."""
    names = (file.name.split(".")[1] for file in run.path.glob(run.predictions("*").name))
    made = (run.predictions, run.cases)
    modes = [mode for mode in names if all(file(mode).exists() for file in made)]
    return _in_order(mode for mode in modes if mode != CHECKPOINT or REFERENCE not in modes)


def _in_order(modes: Iterable[str]) -> list[str]:
    known = (*FLOAT_MODES, *vocabulary.MODES)
    return sorted(modes, key=lambda mode: vocabulary.rank(mode, known))


def _read_source(variant: str, run: Run, pictures: dict[Key, Candidate]) -> _Source:
    """Add the pictures of a run to those that are known, with its scores."""
    modes, slices = _modes(run), read_slices(run)
    scores = {row["id"]: row for row in run.read(run.cases(modes[0]))}
    attended = load_arrays(run, run.attention) if run.attention.exists() else {}
    drawn = drawn_ids(list(scores.values()), list(map(str, attended.get("ids", ()))))
    taken = {picture.name for picture in pictures.values()}
    keys = {each.key: name for name, each in slices.items()}
    for key, name in keys.items():
        shown = f"{name} ({variant})" if name in taken else name
        picture = pictures.setdefault(key, Candidate(shown, slices[name]))
        picture.scores += [scores[name]] if name in scores else []
        picture.drawn |= name in drawn
    return _Source(run, modes, list(keys))


def _draw(picture: Candidate) -> Case:
    image, truth = picture.slice.image, picture.slice.truth
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return Case(
        id=picture.name,
        label=picture.slice.case["class"],
        patient=picture.slice.case["patient"],
        width=image.shape[1],
        height=image.shape[0],
        image=base64.b64encode(png.getvalue()).decode(),
        truth=to_svg(trace(truth)),
        area=int(truth.sum()),
    )


def _draw_layers(
    source: _Source, mode: str, cases: Mapping[Key, Case]
) -> Iterator[tuple[Key, Layer]]:
    """What a run predicts in a mode, for those of its pictures that were chosen."""
    scores = {row["id"]: row for row in source.run.read(source.run.cases(mode))}
    masks = read_predictions(source.run, mode)
    for key in source.keys:
        name = key[0]
        if key in cases and name in masks and name in scores:
            dice, hd95 = (
                None if scores[name][metric] is None else round(scores[name][metric], digits)
                for metric, digits in (("dice", 4), ("hd95_px", 2))
            )
            yield key, Layer(to_svg(trace(masks[name])), int(masks[name].sum()), dice, hd95)
