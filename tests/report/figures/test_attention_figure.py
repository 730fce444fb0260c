import numpy as np
import pytest
from matplotlib.colors import to_hex

from brainseg.files import write_npz
from brainseg.report.figures import attention
from brainseg.report.figures.attention import (
    NOTE,
    read_attention,
)
from brainseg.report.figures.style import LOOKS, TRUTH

STEPS = 5


def rewrite(run, **changes):
    with np.load(run.attention) as file:
        arrays = {name: file[name] for name in file}
    write_npz(run.attention, **{k: v for k, v in (arrays | changes).items() if v is not None})


def grid_of(figure, variants=2):
    """Panels of the maps: the image, and the steps of each variant."""
    columns = 1 + STEPS * variants
    return np.reshape(figure.axes[: 4 * columns], (4, columns))


def test_one_case_per_class_with_the_largest_tumour(runs):
    cases, _ = read_attention(runs)
    assert [case.case["class"] for case in cases.values()] == [
        "glioma",
        "meningioma",
        "pituitary",
        "notumor",
    ]
    with np.load(runs["none"][0].test) as test:
        sizes = dict(zip(test["ids"].tolist(), test["masks"].sum(axis=(1, 2)), strict=True))
        classes = dict(zip(test["ids"].tolist(), test["classes"].tolist(), strict=True))
    for name, case in cases.items():
        rivals = [size for other, size in sizes.items() if classes[other] == case.case["class"]]
        assert sizes[name] == max(rivals)


def test_only_coefficients_of_skips_are_read(runs):
    _, found = read_attention(runs)
    assert list(found) == ["ag", "se", "cbam"]  # `none` has no attention
    for steps in found.values():
        assert list(steps) == [1, 2, 3, 4, 5]
    # Of CBAM the map, not its channels.
    assert {values.ndim for values in found["cbam"][3].values()} == {2}
    assert {values.ndim for values in found["se"][3].values()} == {1}


def test_maps_are_laid_over_the_whole_image(runs):
    cases, found = read_attention(runs)
    grid = grid_of(attention.draw(runs).figure)
    titles = [axes.get_title() for axes in grid[0]]
    assert titles[:2] == ["image", "ag\nstep 1"]
    assert titles[-1] == "cbam\nstep 5"
    for line, (name, case) in zip(grid, cases.items(), strict=True):
        assert line[0].get_ylabel() == f"{case.case['class']}\nid {name}"
        for step, axes in enumerate(line[1 : 1 + STEPS], start=1):
            image, drawn = axes.images
            values = found["ag"][step][name]
            np.testing.assert_array_equal(image.get_array(), case.image)
            np.testing.assert_array_equal(drawn.get_array(), values)
            assert image.get_extent() == list(drawn.get_extent())
            assert drawn.get_clim() == (0, 1)
            texts = [text.get_text() for text in axes.texts]
            assert texts == [f"{values.min():.2f}–{values.max():.2f}"]


def test_the_truth_is_outlined_on_image_and_maps(runs):
    for axes in grid_of(attention.draw(runs).figure)[0]:
        assert [to_hex(patch.get_edgecolor()) for patch in axes.patches] == [TRUTH.colour]


def test_channels_are_sorted_lines_of_the_same_scale(runs):
    figure = attention.draw(runs).figure
    panels = [axes for axes in figure.axes if axes.get_title().startswith("se")]
    assert [axes.get_title() for axes in panels] == [f"se, step {step}" for step in range(1, 6)]
    cases, found = read_attention(runs)
    for step, axes in enumerate(panels, start=1):
        assert axes.get_ylim() == (0, 1)
        for line, name in zip(axes.lines, cases, strict=True):
            expected = sorted(found["se"][step][name], reverse=True)
            np.testing.assert_array_equal(line.get_ydata(), expected)


def test_the_figure_says_that_it_explains_nothing(runs, texts_of):
    assert NOTE in texts_of(attention.draw(runs).figure)
    assert NOTE in texts_of(attention.draw({"se": runs["se"]}).figure)


@pytest.mark.parametrize("variants", [["ag"], ["se"], ["ag", "cbam"], ["se", "cbam"]])
def test_any_mix_of_variants_can_be_drawn(runs, variants):
    figure = attention.draw({variant: runs[variant] for variant in variants}).figure
    titles = {axes.get_title().replace("\n", ", ") for axes in figure.axes}
    assert {f"{variant}, step 1" for variant in variants} <= titles
    bars = [axes for axes in figure.axes if axes.get_ylabel() == "coefficient"]
    assert len(bars) == (variants != ["se"])


def test_a_variant_that_kept_other_cases_leaves_gaps(own_runs):
    run = own_runs["cbam"][0]
    chosen = next(iter(read_attention(own_runs)[0]))
    with np.load(run.attention) as file:
        rows = file["ids"] != chosen
        write_npz(run.attention, **{name: file[name][rows] for name in file})
    grid = grid_of(attention.draw(own_runs).figure)
    assert not grid[0, -1].images
    assert grid[1, -1].images
    assert "cbam: step 1" in attention.draw(own_runs).alt


def test_attention_on_fewer_skips_is_drawn_where_it_is(own_runs):
    for variant in ("ag", "se"):
        rewrite(own_runs[variant][0], **{"decoder.1.attention": None})
    figure = attention.draw(own_runs).figure
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert "ag\nstep 1" not in titles
    assert "se, step 1" not in titles
    assert {"ag\nstep 2", "se, step 2", "cbam\nstep 1"} <= set(titles)


def test_cases_that_are_not_in_the_test_split_are_no_figure(own_runs):
    for members in own_runs.values():
        with np.load(members[0].attention) as file:
            rewrite(members[0], ids=np.array([f"other{i}" for i in range(len(file["ids"]))]))
    assert attention.draw(own_runs) is None


def test_a_variant_that_kept_none_of_the_cases_is_left_out(folds):
    cases, found = read_attention(folds)
    assert list(found) == list(folds)[:1]
    assert all(name.startswith("fold0-") for name in cases)
    drawing = attention.draw(folds)
    assert drawing.alt.count("step 1") == 1
    assert drawing.alt == attention.draw({variant: folds[variant] for variant in found}).alt


def test_coefficients_of_another_image_of_the_same_id_are_left_out(alike):
    cases, found = read_attention(alike)
    same = {name for name, case in cases.items() if case.case["class"] in ("pituitary", "notumor")}
    assert len(same) == 2
    for kept in found["other"].values():
        assert kept.keys() == same
    assert attention.draw(alike)


def test_every_class_has_a_line_of_its_own_look(own_runs):
    run = own_runs["se"][0]
    with np.load(run.test) as file:
        arrays = {name: file[name] for name in file}
    arrays["classes"] = np.array([f"class{i}" for i in range(len(arrays["ids"]))])
    write_npz(run.test, **arrays)
    panels = [axes for axes in attention.draw({"se": [run]}).figure.axes if axes.lines]
    with np.load(run.attention) as file:
        kept = len(file["ids"])
    assert kept > len(LOOKS)
    for axes in panels:
        assert len(axes.lines) == kept


def test_the_network_without_attention_has_no_figure(runs):
    assert attention.draw({"none": runs["none"]}) is None
