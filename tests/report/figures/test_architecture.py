from matplotlib.text import Annotation

from brainseg.files import read_json, write_json
from brainseg.report.figures import architecture
from brainseg.report.figures.architecture import alike
from brainseg.report.parts import parts_table, read_models, steps_of


def change(run, **parts):
    """Change parts of a run's model; `None` removes one."""
    model = read_json(run.model)
    found = {name: part for name, part in (model["parts"] | parts).items() if part}
    write_json(run.model, model | {"parts": found})


def arrows_of(figure):
    return len(figure.findobj(Annotation))


def test_every_part_stands_on_the_drawing_with_its_shape(runs, texts_of):
    texts = texts_of(architecture.draw(runs).figure)
    assert "image\n1×32×32" in texts
    assert "encoder\n\n23.49 M parameters" in texts
    assert "2048×1×1" in texts
    assert "step 1\n256×2×2\n0.26 M parameters" in texts
    assert "step 5\n16×32×32\n16.0 k parameters" in texts
    assert "3×3 convolution\n16×32×32" in texts
    assert "1×1 convolution\n1×32×32" in texts


def test_attention_stands_where_a_variant_has_it(runs, texts_of):
    texts = texts_of(architecture.draw(runs).figure)
    assert texts.count("attention\nag, se, cbam") == 5  # on the skips
    assert texts.count("attention\nse, cbam") == 5  # at the end of the blocks
    plain = texts_of(architecture.draw({"none": runs["none"]}).figure)
    assert not any("attention" in text for text in plain)


def test_boxes_do_not_cover_each_other(runs):
    (axes,) = architecture.draw(runs).figure.axes
    places = [(b.get_x(), b.get_y(), b.get_width(), b.get_height()) for b in axes.patches]
    for number, (x, y, w, h) in enumerate(places):
        for other_x, other_y, other_w, other_h in places[:number]:
            apart = (x + w <= other_x + 1e-9) or (other_x + other_w <= x + 1e-9)
            assert apart or (y + h <= other_y) or (other_y + other_h <= y)


def test_text_fits_into_its_box(runs):
    figure = architecture.draw(runs).figure
    (axes,) = figure.axes
    figure.draw_without_rendering()
    inside = [box.get_window_extent() for box in axes.patches]
    for text in axes.texts:
        extent = text.get_window_extent()
        if text.get_va() == "center" and text.get_text():
            assert any(box.x0 < extent.x0 and extent.x1 < box.x1 for box in inside), text


def test_an_encoder_without_a_level_has_no_skip_there(own_runs, texts_of):
    before = arrows_of(architecture.draw(own_runs).figure)
    for members in own_runs.values():
        change(members[0], **{"decoder.4.attention": None})
    figure = architecture.draw(own_runs).figure
    assert texts_of(figure).count("attention\nag, se, cbam") == 4
    assert arrows_of(figure) == before - 2  # to the attention, and from there to the step


def test_variants_with_another_encoder_are_not_drawn_but_counted(own_runs, texts_of):
    for run in own_runs["se"]:
        encoder = read_json(run.model)["parts"]["encoder"]
        change(run, encoder=encoder | {"output_shape": [512, 1, 1], "parameters": 5})
    assert list(alike(read_models(own_runs))) == ["none", "ag", "cbam"]
    assert "attention\nag, cbam" in texts_of(architecture.draw(own_runs).figure)
    rows = parts_table(own_runs).rows
    assert rows[0][:5] == ["encoder", "2048×1×1 or 512×1×1", "23,494,080", "23,494,080", "5"]


def test_the_second_seed_stands_in_for_a_first_without_a_model(own_runs):
    own_runs["ag"][0].model.unlink()
    assert list(read_models(own_runs)) == list(own_runs)


def test_table_counts_every_part_of_every_variant(runs):
    columns, rows = parts_table(runs).columns, parts_table(runs).rows
    assert columns[:4] == ["part", "output", "none, parameters", "ag, parameters"]
    assert columns[-1] == "cbam, multiply-adds"
    assert {len(row) for row in rows} == {len(columns)}
    assert all(isinstance(cell, str) for row in rows for cell in row)
    cells = {row[0]: row[1:] for row in rows}
    models = read_models(runs)
    for name, cell in cells.items():
        counted = [*(model["parts"].get(name) for model in models.values())]
        if name == "total":
            counted = list(models.values())
        expected = [
            f"{part[key]:,}" if part else "–"
            for key in ("parameters", "multiply_adds")
            for part in counted
        ]
        assert cell[1:] == expected
    assert cells["decoder.1.block.attention"][:3] == ["256×2×2", "–", "–"]


def test_parts_stand_in_the_order_of_the_image(runs):
    names = [row[0] for row in parts_table(runs).rows]
    assert names[:4] == ["encoder", "image_skip", "decoder.1", "decoder.1.attention"]
    assert names[-2:] == ["head", "total"]
    assert steps_of(read_models(runs)) == [1, 2, 3, 4, 5]


def test_without_models_the_table_has_no_rows(empty_runs):
    assert parts_table(empty_runs).rows == []
