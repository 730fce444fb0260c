import csv
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from brainseg.errors import InputError
from brainseg.files import replacing, write_json
from brainseg.predict import image_file
from brainseg.predict.algorithm import Algorithm
from brainseg.predict.inputs import find_inputs, unique_stems
from brainseg.predict.predict import COLUMNS, predict
from brainseg.predict.settings import Settings
from brainseg.scoring.models import find_file

SIZE = 32


def test_a_file_without_a_fixed_size_is_refused(model: Path, tmp_path: Path) -> None:
    graph = onnx.load(model)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[3].dim_param = "width"
    onnx.save(graph, tmp_path / "free.onnx")
    image = save(tmp_path / "a.png", box(SIZE, SIZE))
    with pytest.raises(InputError, match="a fixed height and width"):
        predict(tmp_path / "free.onnx", [image], tmp_path / "out")


def box(height: int, width: int) -> np.ndarray:
    """A bright rectangle on black, a quarter of the image."""
    image = np.zeros((height, width), np.uint8)
    image[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    image[0, 0] = 20  # an image has more than two grey levels
    return image


def bright(image: np.ndarray) -> np.ndarray:
    return np.where(image > 127, 255, 0)


def find(paths: list[Path]) -> list[Path]:
    return [Path(each.name) for each in find_inputs(paths, Settings(), Algorithm("0", "n", {}))]


def rows_of(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    return predict(*args, threads=1, **kwargs)["rows"]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def read(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_mask_and_overlay_have_the_size_of_the_image(model: Path, tmp_path: Path) -> None:
    image = box(64, 128)
    (row,) = rows_of(model, [save(tmp_path / "a.png", image)], tmp_path / "out")
    mask, picture = read(row["mask"]), read(row["overlay"])
    assert row["mask"] == str(tmp_path / "out" / "a.mask.png")
    assert row["overlay"] == str(tmp_path / "out" / "a.overlay.png")
    assert mask.shape == (64, 128)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    corners = np.zeros_like(image, bool)
    corners[np.ix_([16, 47], [32, 95])] = True  # which the bilinear resize rounds off
    assert (mask == np.where(corners, 0, bright(image))).all()
    assert picture.shape == (64, 128, 3)
    assert (picture[16, 33:95] != 255).any(axis=1).all()
    assert (picture[32, 64] == 255).all()


def test_row_says_what_was_found(model: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", box(64, 128))
    (row,) = rows_of(model, [path], tmp_path / "out")
    assert tuple(row) == COLUMNS
    assert (row["input"], row["width"], row["height"]) == (str(path), 128, 64)
    assert (row["area_px"], row["area_share"]) == (2044, 2044 / 8192)
    assert 0.9 < row["probability"] <= row["max_probability"] <= 1
    assert row["seconds"] > 0
    assert row["error"] is None
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert {key: "" if value is None else str(value) for key, value in row.items()} == line


@pytest.mark.parametrize("size", [(SIZE, SIZE), (200, 90), (20, 25)])
def test_area_share_does_not_depend_on_the_size(
    model: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = ((rows + 0.5) / size[0] - 0.5) ** 2 + ((columns + 0.5) / size[1] - 0.5) ** 2 < 0.09
    image = np.where(inside, 255, 0).astype(np.uint8)
    image[0, 0] = 20
    (row,) = rows_of(model, [save(tmp_path / "a.png", image)], tmp_path / "out")
    assert row["area_share"] == pytest.approx(np.pi * 0.09, rel=0.08)


def test_an_image_without_tumour_has_an_empty_mask(model: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", np.full((40, 40), 100, np.uint8))
    (row,) = rows_of(model, [image], tmp_path / "out")
    assert (row["area_px"], row["area_share"], row["probability"]) == (0, 0.0, None)
    assert row["max_probability"] == pytest.approx(
        1 / (1 + np.exp(-(100 / 255 - 0.5) * 50)), abs=1e-4
    )
    assert not read(row["mask"]).any()


def test_16_bit_and_rgba_images_that_are_grey_give_the_same_mask(
    model: Path, tmp_path: Path
) -> None:
    image = box(48, 48)
    image[image == 255] = np.linspace(140, 255, 24 * 24).round()
    colour = np.dstack([image, image, image, np.full_like(image, 255)])
    files = [
        save(tmp_path / "deep.png", image.astype(np.uint16) * 257),
        save(tmp_path / "rgba.png", colour),
        save(tmp_path / "plain.png", image),
    ]
    rows = rows_of(model, files, tmp_path / "out")
    assert [row["error"] for row in rows] == [None, None, None]
    for row in rows:
        np.testing.assert_array_equal(read(row["mask"]), read(rows[2]["mask"]))
        assert read(row["mask"]).any()


def test_a_bad_image_is_a_row_and_the_others_are_done(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "b.png"
    broken.write_bytes(b"not an image")
    files = [
        save(tmp_path / "a.png", box(40, 40)),
        broken,
        tmp_path / "missing.png",
        save(tmp_path / "z.png", box(40, 40)),
    ]
    rows = rows_of(model, files, tmp_path / "out")
    assert [row["input"] for row in rows] == list(map(str, files))
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert "b.png cannot be read as an image" in rows[1]["error"]
    assert "missing.png does not exist" in rows[2]["error"]
    assert all(
        value is None for key, value in rows[1].items() if key not in ("input", "kind", "error")
    )
    assert not (tmp_path / "out" / "b.mask.png").exists()
    assert rows[3]["area_px"] == 400
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert [bool(line["error"]) for line in csv.DictReader(file)] == [False, True, True, False]


def test_equal_stems_do_not_overwrite_each_other(model: Path, tmp_path: Path) -> None:
    files = [
        save(tmp_path / "one" / "a.png", box(40, 40)),
        save(tmp_path / "two" / "a.png", np.zeros((50, 60), np.uint8)),
    ]
    rows = rows_of(model, files, tmp_path / "out")
    assert [Path(row["mask"]).name for row in rows] == ["a.mask.png", "a-2.mask.png"]
    assert [read(row["mask"]).shape for row in rows] == [(40, 40), (50, 60)]


def test_unique_stems_avoid_names_that_are_given_too() -> None:
    assert unique_stems(["a-2", "a", "a", "A", "b"]) == ["a-2", "a", "a-3", "A-4", "b"]


def test_a_folder_means_its_images_but_not_earlier_results(model: Path, tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.tif"):
        save(tmp_path / name, box(40, 40))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "deeper.png").mkdir()
    first = rows_of(model, [tmp_path], tmp_path)
    assert [Path(row["input"]).name for row in first] == ["a.JPG", "b.png", "c.tif"]
    assert len(list(tmp_path.glob("*.mask.png"))) == 3
    with pytest.raises(InputError, match=r"holds the results of an earlier .*--overwrite"):
        predict(model, [tmp_path], tmp_path)
    again = rows_of(model, [tmp_path], tmp_path, overwrite=True)
    assert [row["input"] for row in again] == [row["input"] for row in first]


def test_no_image_is_an_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"Nothing to segment in .*expected files .*\.png"):
        predict(model, [tmp_path], tmp_path / "out", threads=1)
    with pytest.raises(InputError, match="Nothing to segment"):
        find([])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["a.png", "a.png/deeper"])
def test_a_file_is_no_folder_for_results(model: Path, tmp_path: Path, out: str) -> None:
    image = save(tmp_path / "a.png", box(40, 40))
    with pytest.raises(InputError, match=r"a\.png is a file; expected a folder.*--out"):
        predict(model, [image], tmp_path / out)


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (1, SIZE, 2 * SIZE)])
def test_a_network_of_other_images_is_refused(
    model: Path, tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    graph = onnx.load(model)
    for value in (*graph.graph.input, *graph.graph.output):
        for dimension, size in zip(value.type.tensor_type.shape.dim[1:], shape, strict=True):
            dimension.dim_value = size
    onnx.save(graph, tmp_path / "other.onnx")
    image = save(tmp_path / "a.png", box(SIZE, SIZE))
    with pytest.raises(InputError, match=rf"takes \['batch', {shape[0]}, .*expected N×1×H×W"):
        predict(tmp_path / "other.onnx", [image], tmp_path / "out")


@pytest.mark.parametrize("mode", ["checkpoint", "int4"])
def test_find_file_refuses_other_modes(tmp_path: Path, mode: str) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=rf"Unknown mode {mode}\. Choose from: fp32, fp16"):
        find_file(tmp_path, mode)


def test_find_file_refuses_a_file_of_another_network(tmp_path: Path) -> None:
    for name in ("state.json", "model.int8_dynamic.onnx", "model.fp32.onnx"):
        (tmp_path / name).write_text("{}")
    write_json(tmp_path / "model.int8_dynamic.json", {"export": "0" * 64})
    with pytest.raises(InputError, match=r"int8_dynamic\.onnx was made from .*: brainseg quantize"):
        find_file(tmp_path, "int8_dynamic")
    assert find_file(tmp_path, "fp32").name == "model.fp32.onnx"


def test_find_file_takes_a_file_or_a_run(model: Path, tmp_path: Path) -> None:
    assert find_file(model, "fp32") == model
    run = tmp_path / "ag-seed0"
    run.mkdir()
    (run / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"exported: none yet.*brainseg export .*ag-seed0$"):
        find_file(run, "fp32")
    (run / "model.fp32.onnx").write_bytes(b"")
    assert find_file(run, "fp32") == run / "model.fp32.onnx"
    with pytest.raises(InputError, match=r"exported: fp32\).*quantize .* --mode int8_static$"):
        find_file(run, "int8_static")


@pytest.mark.parametrize("name", ["nowhere", "image.png", "folder"])
def test_find_file_refuses_other_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(InputError, match="neither a run nor an ONNX file"):
        find_file(tmp_path / name, "fp32")


def test_folders_are_searched_as_data_sets_are(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "site" / "b.PNG", box(40, 40))
    (folder / "._b.png").write_bytes(b"Mac OS X")
    (folder / ".cache").mkdir()
    save(folder / ".cache" / "c.png", box(40, 40))
    (folder / "dir.png").mkdir()
    rows = rows_of(model, [folder], tmp_path / "out")
    assert [(row["input"], row["error"]) for row in rows] == [(str(folder / "site/b.PNG"), None)]


def test_what_cannot_be_opened_is_a_row_and_never_waited_for(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.png", box(40, 40))
    (folder / "link.png").symlink_to("nowhere")
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / os.fsdecode(b"M\xfcller.png")).write_bytes((folder / "a.png").read_bytes())
    rows = {
        Path(row["input"]).name: row["error"] for row in rows_of(model, [folder], tmp_path / "o")
    }
    assert rows.pop("a.png") is None
    assert rows.pop("M\\udcfcller.png") is None
    assert ["link to nowhere" in rows["link.png"], "is empty" in rows["empty.png"]] == [True, True]
    assert "is no file" in rows["pipe.png"]


@pytest.mark.parametrize("name", ["x" * 251, "é" * 125, "a" * 200 + "\n"])
def test_names_may_be_as_long_as_they_can(model: Path, tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "in" / f"{name}.png", box(40, 40))
    (row,) = rows_of(model, [path, path][:1], tmp_path / "out")
    assert row["error"] is None
    assert Path(row["mask"]).is_file()


def test_paths_that_are_too_long_are_told(model: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", box(40, 40))
    (row,) = rows_of(model, [tmp_path / ("x" * 300 + ".png")], tmp_path / "out")
    assert "cannot be read" in row["error"]
    with pytest.raises(InputError, match="cannot be made"):
        predict(model, [image], tmp_path / ("x" * 300), threads=1)


def test_results_lie_on_the_image_as_a_viewer_shows_it(model: Path, tmp_path: Path) -> None:
    image, tags = box(40, 60), Image.Exif()
    image[:10, :10] = 255
    tags[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "turned.jpg", exif=tags, quality=100)
    (row,) = rows_of(model, [tmp_path / "turned.jpg"], tmp_path / "out")
    assert (row["width"], row["height"]) == (40, 60)
    agreement = read(row["mask"]) == np.where(np.rot90(image, -1) > 127, 255, 0)
    assert agreement.mean() > 0.97
    assert "EXIF" in row["note"]


def test_masks_beside_their_images_are_left_out_and_told(tmp_path: Path, caplog):
    for name in ("x.png", "x_mask.png", "a_mask.png"):
        (tmp_path / name).touch()
    assert find([tmp_path]) == [tmp_path / "a_mask.png", tmp_path / "x.png"]
    assert "Masks beside their images are left out" in caplog.text
    assert find([tmp_path / "x_mask.png"]) == [tmp_path / "x_mask.png"]


def test_the_masks_of_a_data_set_are_left_out(tmp_path: Path):
    for name in ("images/x.png", "masks/x.png", "other/masks/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / "images" / "x.png", tmp_path / "other" / "masks" / "x.png"]
    assert find([tmp_path]) == expected
    assert find([tmp_path / "masks"]) == [tmp_path / "masks" / "x.png"]


def test_a_full_disk_leaves_no_half_of_a_result(model: Path, tmp_path: Path, monkeypatch) -> None:
    files = [save(tmp_path / name, box(40, 40)) for name in ("a.png", "b.png")]
    write = image_file.write_picture

    def until_full(path: Path, *rest: Any) -> None:
        with replacing(path) as temporary:
            if path.name == "b.overlay.png":
                raise OSError(errno.ENOSPC, "No space left on device")
            temporary.touch()
        write(path, *rest)

    monkeypatch.setattr(image_file, "write_picture", until_full)
    rows = rows_of(model, files, tmp_path / "out")
    assert rows[0]["error"] is None
    assert "The disk is full" in rows[1]["error"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("a.mask.png", "a.overlay.png", "predictions.csv", "manifest.json", ".lock")
    }


def test_what_fails_in_a_way_nobody_thought_of_is_a_row(
    model: Path, tmp_path: Path, monkeypatch
) -> None:
    files = [save(tmp_path / name, box(40, 40)) for name in ("a.png", "b.png")]
    read = image_file.decode_image

    def fail(path: Path) -> Any:
        if path.name == "a.png":
            raise IndexError("list index out of range")
        return read(path)

    monkeypatch.setattr(image_file, "decode_image", fail)
    rows = rows_of(model, files, tmp_path / "out")
    assert "a.png cannot be segmented (IndexError: list index out of range)" in rows[0]["error"]
    assert rows[1]["error"] is None


def test_files_of_others_are_not_overwritten(model: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", box(40, 40))
    mine = save(tmp_path / "out" / "a.mask.png", np.full((3, 3), 7, np.uint8))
    with pytest.raises(InputError, match=r"a\.mask\.png exists\. Choose another folder"):
        predict(model, [image], tmp_path / "out")
    assert read(str(mine)).shape == (3, 3)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").touch()
    with pytest.raises(InputError, match=r"manifest\.json exists"):
        predict(model, [image], tmp_path / "site")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "SHA256SUMS").touch()
    with pytest.raises(InputError, match="is a package"):
        predict(model, [image], tmp_path / "pack", overwrite=True)


def test_overwriting_removes_what_only_the_earlier_table_lists(model: Path, tmp_path: Path) -> None:
    first, second = (save(tmp_path / name, box(40, 40)) for name in ("a.png", "b.png"))
    rows_of(model, [first], tmp_path / "out")
    (tmp_path / "out" / "notes.txt").touch()
    rows_of(model, [second], tmp_path / "out", overwrite=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("b.mask.png", "b.overlay.png", "predictions.csv", "manifest.json", ".lock", "notes.txt")
    }
