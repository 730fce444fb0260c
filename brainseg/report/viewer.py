"""Test cases with the outlines of the truth and of each prediction, as the page shows them."""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from brainseg import vocabulary
from brainseg.evaluation.cases import THRESHOLD, read_cases
from brainseg.outline import SIMPLIFIED, to_svg, trace
from brainseg.report.pictures import load_arrays
from brainseg.report.selection import Candidate, Key, choose_pictures, drawn_ids, tell_rule
from brainseg.run import Run
from brainseg.terminal import bar
from brainseg.vocabulary import CHECKPOINT, FLOAT_MODES, REFERENCE


@dataclass(frozen=True)
class Layer:
    """What one variant predicts for one case in one mode.

    Attributes:
        path: the outline, see `outline.to_svg`.
        area: its pixels.
        dice: with the truth; `None` where the truth has no tumour.
        hd95_px: likewise.
    """

    path: str
    area: int
    dice: float | None
    hd95_px: float | None


@dataclass
class Case:
    """A picture of the test split with its outlines.

    Attributes:
        id: unique in a viewer.
        label: the class.
        patient: empty where unknown.
        width: of the picture, in pixels.
        height: likewise.
        image: a grey PNG, base64.
        truth: the outline of the mask.
        area: pixels of the mask.
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
    """What the page shows.

    Attributes:
        variants: in the order of the tables.
        runs: the name of the run shown for each variant.
        modes: that some variant was scored in.
        cases: in the order of the data.
        rule: how the cases were chosen, in sentences.
    """

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
    """Choose test cases of some runs, and draw the outlines of their predictions.

    Args:
        runs: each variant's runs, one per seed, in the order of the tables. The first that was
            scored is shown.
        limit: cases at most, not counting those that figures show.

    Returns:
        The cases, or `None` where no run was scored.
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
    start, end = run.predictions("*").name.split("*")
    names = (file.name[len(start) : -len(end)] for file in run.path.glob(f"{start}*{end}"))
    modes = [mode for mode in names if run.cases(mode).exists()]
    return _in_order(mode for mode in modes if mode != CHECKPOINT or REFERENCE not in modes)


def _in_order(modes: Iterable[str]) -> list[str]:
    known = (*FLOAT_MODES, *vocabulary.MODES)
    return sorted(modes, key=lambda mode: vocabulary.rank(mode, known))


def _read_source(variant: str, run: Run, pictures: dict[Key, Candidate]) -> _Source:
    """Add the pictures of a run to those that are known, with its scores."""
    arrays = load_arrays(run.test)
    test = [arrays[name] for name in ("ids", "classes", "patients", "images", "masks")]
    modes, keys = _modes(run), []
    scores = {row["id"]: row for row in read_cases(run.cases(modes[0]))}
    attended = load_arrays(run.attention) if run.attention.exists() else {}
    drawn = drawn_ids(list(scores.values()), list(map(str, attended.get("ids", ()))))
    taken = {picture.id for picture in pictures.values()}
    for name, label, patient, image, mask in zip(*test, strict=True):
        key = str(name), hashlib.sha256(image.tobytes() + mask.tobytes()).digest()
        if key not in pictures:
            shown = f"{name} ({variant})" if str(name) in taken else str(name)
            pictures[key] = Candidate(shown, str(label), str(patient), image, mask)
        if row := scores.get(str(name)):
            pictures[key].scores.append(row)
        pictures[key].drawn |= str(name) in drawn
        keys.append(key)
    return _Source(run, modes, keys)


def _draw(picture: Candidate) -> Case:
    height, width = picture.image.shape
    mask = picture.mask > 0
    png = io.BytesIO()
    Image.fromarray(picture.image).save(png, "PNG")
    image = base64.b64encode(png.getvalue()).decode()
    names = picture.id, picture.label, picture.patient
    return Case(*names, width, height, image, to_svg(trace(mask)), int(mask.sum()))


def _draw_layers(
    source: _Source, mode: str, cases: Mapping[Key, Case]
) -> Iterator[tuple[Key, Layer]]:
    """What a run predicts in a mode, for those of its pictures that were chosen."""
    scores = {row["id"]: row for row in read_cases(source.run.cases(mode))}
    arrays = load_arrays(source.run.predictions(mode))
    maps = dict(zip(arrays["ids"].tolist(), arrays["probabilities"], strict=True))
    for key in source.keys:
        name = key[0]
        if key in cases and name in maps and name in scores:
            mask, row = maps[name] >= THRESHOLD, scores[name]
            dice, hd95 = (
                None if row[metric] is None else round(row[metric], digits)
                for metric, digits in (("dice", 4), ("hd95_px", 2))
            )
            yield key, Layer(to_svg(trace(mask)), int(mask.sum()), dice, hd95)
