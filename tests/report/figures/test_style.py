import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from brainseg import vocabulary
from brainseg.report.figures.style import (
    LOOKS,
    PREDICTION,
    TRUTH,
    draw_outline,
    looks_of,
    make_grid,
    mode_marker,
    paths_of,
    save,
    show_slice,
    write_on_slice,
)

STUDIED = LOOKS[: len(vocabulary.STUDY)]

# Of Machado et al. (2009), for full deuteranopia and protanopia; rows give R, G, B.
BLINDNESS = {
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}


def luminance(colour: str) -> float:
    return float(np.dot([0.299, 0.587, 0.114], to_rgb(colour)))


def test_variants_differ_in_grey_in_line_and_in_marker():
    for first, second in combinations(STUDIED, 2):
        assert abs(luminance(first.colour) - luminance(second.colour)) > 0.1
    for part in ("colour", "line", "marker"):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_variants_differ_for_the_colour_blind(kind):
    seen = [np.array(BLINDNESS[kind]) @ to_rgb(look.colour) for look in STUDIED]
    for first, second in combinations(seen, 2):
        assert np.linalg.norm(first - second) > 0.25


def test_lines_stand_out_from_white():
    assert all(luminance(look.colour) < 0.7 for look in LOOKS)


def test_outlines_differ_in_dash_and_in_grey():
    assert TRUTH.line == "-"
    assert PREDICTION.line != "-"
    assert abs(luminance(TRUTH.colour) - luminance(PREDICTION.colour)) > 0.2


def test_modes_differ_in_colour_and_filled_part_and_a_new_one_in_colour(monkeypatch):
    before = [mode_marker(mode) for mode in vocabulary.MODES]
    monkeypatch.setitem(vocabulary.MODES, "int4", vocabulary.Mode("int4", "In 4 bits."))
    looks = [mode_marker(mode) for mode in vocabulary.MODES]
    assert looks[:-1] == before
    assert len({look["fillstyle"] for look in before}) == len(before)
    assert len({look["color"] for look in looks}) == len(looks)


def test_known_variants_keep_their_look_whatever_stands_beside_them():
    alone, together = looks_of(["ag"]), looks_of(["ag lr0.1", "none", "ag"])
    assert alone["ag"] == together["ag"] == LOOKS[vocabulary.STUDY.index("ag")]
    assert together["ag lr0.1"] == LOOKS[len(vocabulary.STUDY)]


def test_more_variants_than_looks_use_them_again(monkeypatch):
    names = [f"variant{number}" for number in range(len(LOOKS) + 1)]
    looks = looks_of(names)
    assert list(looks) == names
    assert len(set(looks.values())) == len(LOOKS)
    assert looks[names[0]] == looks[names[-1]]
    monkeypatch.setattr(vocabulary, "STUDY", tuple(f"study{number}" for number in range(9)))
    assert len(looks_of([*vocabulary.STUDY, *names])) == 9 + len(names)


def draw(mask):
    axes = Figure().subplots()
    show_slice(axes, np.zeros(mask.shape, np.uint8))
    draw_outline(axes, mask, TRUTH)
    return axes


def rings_of(axes):
    """Points of each closed ring; the last one only closes it."""
    if not axes.patches:
        return []
    (patch,) = axes.patches  # one path, however many islands
    path = patch.get_path()
    ends = np.flatnonzero(path.codes == path.CLOSEPOLY)
    return np.split(path.vertices, ends[:-1] + 1)


def test_outline_runs_around_its_pixels_and_is_closed():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 3:7] = True
    axes = draw(mask)
    (ring,) = rings_of(axes)
    assert (*ring.min(axis=0), *ring.max(axis=0)) == (2.5, 1.5, 6.5, 4.5)
    assert axes.get_xlim() == (-0.5, 7.5)  # outlines do not move the picture


def test_outline_of_a_mask_at_the_border_is_closed():
    (ring,) = rings_of(draw(np.ones((4, 4), bool)))
    assert (ring.min(), ring.max()) == (-0.5, 3.5)


def test_every_part_of_a_mask_has_an_outline_and_an_empty_mask_none():
    mask = np.zeros((8, 8), bool)
    mask[1, 1] = mask[4:7, 4:7] = True
    mask[5, 5] = False
    assert len(rings_of(draw(mask))) == 3  # a pixel, a ring's outer and its inner side
    assert not rings_of(draw(np.zeros((4, 4), bool)))


def test_slices_of_any_brightness_use_the_same_grey():
    axes = Figure().subplots()
    show_slice(axes, np.full((4, 4), 100, np.uint8))
    assert axes.images[0].get_clim() == (0, 255)


def test_text_on_a_slice_has_a_casing():
    axes = Figure().subplots()
    write_on_slice(axes, "Dice 0.5")
    (text,) = axes.texts
    assert text.get_path_effects()


def test_names_with_a_point_keep_it(tmp_path):
    figure, grid = make_grid(1, 2, 1.0)
    assert grid.shape == (1, 2)
    save(figure, tmp_path / "worst_cases-se-lr0.01")
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".png", ".svg"]
    assert {file.stem for file in tmp_path.iterdir()} == {"worst_cases-se-lr0.01"}


def test_every_clip_path_that_is_used_is_there(tmp_path):
    figure, grid = make_grid(1, 2, 1.0)
    for axes in grid.flat:
        axes.plot([0, 1], [0, 1])
    save(figure, tmp_path / "figure")
    svg = (tmp_path / "figure.svg").read_text()
    used = set(re.findall(r"url\(#(\w+)\)", svg))
    assert used == set(re.findall(r'<clipPath id="(\w+)"', svg))
    assert len(used) == 2


def test_the_last_bits_of_the_layout_do_not_show(tmp_path, monkeypatch):
    def draw(noise):
        figure = Figure(figsize=(4, 3), layout="constrained")
        for part in figure.subfigures(2, 1):
            axes = part.subplots()
            axes.plot([0, 1, 3], [1, 0, 2])
            axes.set_title("Title")
        engine = figure.get_layout_engine()
        arrange = engine.execute

        def arrange_with_noise(_):
            arrange(figure)
            for part in figure.subfigs:
                part.bbox_relative.p1 = part.bbox_relative.p1 + noise
            for axes in figure.axes:
                axes.set_position(np.array(axes.get_position(original=True).bounds) + noise)

        monkeypatch.setattr(engine, "execute", arrange_with_noise)
        save(figure, tmp_path / "figure")
        return [file.read_bytes() for file in paths_of(tmp_path / "figure")]

    assert draw(0) == draw(1e-13)
    assert draw(0) != draw(1e-2)
