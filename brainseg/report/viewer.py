"""Test cases with the contours of the truth and of each prediction: what the page lets one see."""

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from brainseg.evaluation.cases import THRESHOLD, read_cases
from brainseg.report.rows import ORDERS, REFERENCE
from brainseg.run import CHECKPOINT, Run
from brainseg.terminal import bar

MODES = (REFERENCE, CHECKPOINT, *ORDERS["mode"])
"""The modes that come first."""

Key = tuple[str, bytes]
"""Id of a case, and a digest of image and mask: another data set may have the same ids."""


@dataclass(frozen=True)
class Layer:
    """What one variant predicts for one case in one mode.

    Attributes:
        path: the contour, see `contour`.
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
    """A picture of the test split with its contours.

    Attributes:
        id: unique in a viewer.
        label: the class.
        patient: empty where unknown.
        width: of the picture, in pixels.
        height: likewise.
        image: a grey PNG, base64.
        truth: the contour of the mask.
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
        runs: the name of the run that speaks for each variant.
        modes: that some variant was scored in.
        cases: in the order of the data.
        rule: how the cases were chosen, in sentences.
    """

    variants: Sequence[str]
    runs: Mapping[str, str]
    modes: Sequence[str]
    cases: Sequence[Case]
    rule: str


@dataclass
class _Picture:
    """A test case before it is chosen; scores of each variant in its first mode."""

    id: str
    label: str
    patient: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    scores: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def badness(self) -> tuple[float, int]:
        """Larger is worse: mean Dice, then the most pixels where nothing is."""
        dices = [row["dice"] for row in self.scores if row["dice"] is not None]
        return (-fmean(dices) if dices else 0.0, max((row["fp"] for row in self.scores), default=0))


@dataclass(frozen=True)
class _Source:
    """The run that speaks for a variant."""

    run: Run
    modes: list[str]
    keys: list[Key]


def collect_viewer(runs: Mapping[str, Sequence[Run]], limit: int = 120) -> Viewer | None:
    """Choose test cases of some runs, and draw the contours of their predictions.

    Args:
        runs: each variant's runs, one per seed, in the order of the tables. The first that was
            scored speaks for its variant.
        limit: cases at most.

    Returns:
        The cases, or `None` where no run was scored.
    """
    pictures: dict[Key, _Picture] = {}
    sources = {}
    for variant, members in runs.items():
        run = next((run for run in members if run.test.exists() and _modes(run)), None)
        if run:
            sources[variant] = _read_source(variant, run, pictures)
    if not sources:
        return None
    chosen = {key: pictures[key] for key in _choose(pictures, limit)}
    cases = {key: _draw(picture) for key, picture in chosen.items()}
    steps = [(name, mode) for name, source in sources.items() for mode in source.modes]
    for variant, mode in bar(steps, "Contours"):
        for key, layer in _draw_layers(sources[variant], mode, cases):
            cases[key].layers.setdefault(variant, {})[mode] = layer
    return Viewer(
        list(sources),
        {variant: source.run.name for variant, source in sources.items()},
        sorted({mode for _, mode in steps}, key=_rank),
        list(cases.values()),
        _tell_rule(len(cases), len(pictures)),
    )


def contour(mask: NDArray[np.bool_]) -> str:
    """Outline of a binary mask as the `d` of an SVG path, in half pixels; holes are outlined too.

    The corner of the picture is (0, 0), the middle of its first pixel (1, 1): under `scale(.5)` it
    lies on the picture. Empty for an empty mask.
    """
    lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
    # Marching squares counts from the middle of the first pixel, which is the margin's here; its
    # points lie between two pixels, so that their doubles are integers.
    return "".join(_to_path(np.rint(2 * line - 1).astype(int)) for line in lines)


def _to_path(ring: NDArray[np.int_]) -> str:
    """A closed ring of (row, column) as its corners, in relative steps: they are short."""
    steps = np.diff(ring, axis=0)
    corners = ring[:-1][(steps != np.roll(steps, 1, axis=0)).any(axis=1), ::-1]
    text = " ".join(f"{x} {y}" for x, y in np.diff(corners, axis=0).tolist())
    return "M{} {}l".format(*corners[0]) + text.replace(" -", "-") + "z"


def _modes(run: Run) -> list[str]:
    """The modes that were scored; the checkpoint only where its export was not."""
    start, end = run.predictions("*").name.split("*")
    found = (
        file.name.removeprefix(start).removesuffix(end) for file in run.path.glob(f"{start}*{end}")
    )
    modes = [mode for mode in found if run.cases(mode).exists()]
    return sorted(
        (mode for mode in modes if mode != CHECKPOINT or REFERENCE not in modes), key=_rank
    )


def _rank(mode: str) -> tuple[int, str]:
    return (MODES.index(mode) if mode in MODES else len(MODES), mode)


def _read_source(variant: str, run: Run, pictures: dict[Key, _Picture]) -> _Source:
    """Join the pictures of a run to those that are known, with its scores."""
    with np.load(run.test) as arrays:
        test = {name: arrays[name] for name in ("ids", "classes", "patients", "images", "masks")}
    modes, keys = _modes(run), []
    scores = {row["id"]: row for row in read_cases(run.cases(modes[0]))}
    taken = {picture.id for picture in pictures.values()}
    for name, label, patient, image, mask in zip(*test.values(), strict=True):
        key = str(name), hashlib.sha256(image.tobytes() + mask.tobytes()).digest()
        if key not in pictures:
            shown = f"{name} ({variant})" if str(name) in taken else str(name)
            pictures[key] = _Picture(shown, str(label), str(patient), image, mask)
        if row := scores.get(str(name)):
            pictures[key].scores.append(row)
        keys.append(key)
    return _Source(run, modes, keys)


def _choose(pictures: Mapping[Key, _Picture], limit: int) -> list[Key]:
    """At most `limit` of the pictures, in their order; `_tell_rule` says how."""
    groups: dict[tuple[str, bool], list[Key]] = {}
    for key, picture in pictures.items():
        groups.setdefault((picture.label, bool(picture.mask.any())), []).append(key)
    quotas = _share([len(keys) for keys in groups.values()], limit)
    chosen: set[Key] = set()
    for ((_, tumour), keys), quota in zip(groups.items(), quotas, strict=True):
        ranked = sorted(keys, key=lambda key: pictures[key].badness, reverse=True)
        firsts = 0 if tumour else -(-quota // 2)
        rest = ranked[firsts:]
        chosen |= {*ranked[:firsts], *(rest[i] for i in _spread(len(rest), quota - firsts))}
    return [key for key in pictures if key in chosen]


def _share(sizes: Sequence[int], limit: int) -> list[int]:
    """Give each group the same number; what a small one cannot use goes to the others."""
    quotas = [0] * len(sizes)
    for _ in range(min(limit, sum(sizes))):
        free = [i for i, size in enumerate(sizes) if quotas[i] < size]
        quotas[min(free, key=quotas.__getitem__)] += 1
    return quotas


def _spread(size: int, count: int) -> list[int]:
    """`count` of the numbers below `size`: the first, the middle, the last, and evenly between."""
    middle = (size - 1) // 2
    if count >= size:
        return list(range(size))
    if count < 3:
        return [0, middle][:count]
    lower, upper = (count + 2) // 2, (count + 1) // 2
    below = [step * middle // (lower - 1) for step in range(lower)]
    return below + [middle + step * (size - 1 - middle) // (upper - 1) for step in range(1, upper)]


def _draw(picture: _Picture) -> Case:
    height, width = picture.image.shape
    mask = picture.mask > 0
    return Case(
        picture.id,
        picture.label,
        picture.patient,
        width,
        height,
        _to_png(picture.image),
        contour(mask),
        int(mask.sum()),
    )


def _draw_layers(
    source: _Source, mode: str, cases: Mapping[Key, Case]
) -> Iterator[tuple[Key, Layer]]:
    """What a run predicts in a mode, for those of its pictures that were chosen."""
    scores = {row["id"]: row for row in read_cases(source.run.cases(mode))}
    with np.load(source.run.predictions(mode)) as arrays:
        maps = dict(zip(arrays["ids"].tolist(), arrays["probabilities"], strict=True))
    for key in source.keys:
        name = key[0]
        if key not in cases or name not in maps or name not in scores:
            continue
        mask, row = maps[name] >= THRESHOLD, scores[name]
        dice, hd95 = row["dice"], row["hd95_px"]
        yield (
            key,
            Layer(
                contour(mask),
                int(mask.sum()),
                None if dice is None else round(dice, 4),
                None if hd95 is None else round(hd95, 2),
            ),
        )


def _to_png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _tell_rule(shown: int, total: int) -> str:
    if shown == total:
        return f"All {total} test cases are shown."
    return (
        f"{shown} of {total} test cases are shown, as many of each class, with and without tumour "
        "apart. Of those with tumour: the worst, the median and the best by Dice (mean over the "
        "variants), and others spread evenly between. Of those without: half are the ones with "
        "most false-positive pixels, the others are spread evenly over the rest."
    )
