"""The contact sheet, and the timing of the stages."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainseg.data import throughput
from brainseg.data.show import Cell, draw_sheet, show_cases
from brainseg.data.throughput import measure_throughput, to_table
from brainseg.errors import InputError
from brainseg.files import write_csv, write_npz


def orange(picture: np.ndarray) -> np.ndarray:
    """Where a picture is coloured, as only outlines are."""
    values = picture[..., :3].astype(int)
    return values.max(axis=-1) - values.min(axis=-1) > 90


def test_outlines_are_drawn_where_the_masks_end(tmp_path: Path):
    mask = np.zeros((60, 60), bool)
    mask[20:40, 10:30] = True
    grey = np.full((60, 60), 90, np.uint8)
    cells = [Cell("with", grey, mask), Cell("empty", grey, mask & False), Cell("none", grey, None)]
    draw_sheet({"glioma": cells}, 3).savefig(tmp_path / "sheet.png", dpi=100)
    picture = orange(np.asarray(Image.open(tmp_path / "sheet.png")))
    columns = np.flatnonzero(picture.any(axis=0))
    rows = np.flatnonzero(picture.any(axis=1))
    height, width = np.ptp(rows), np.ptp(columns)
    assert picture.sum() < 0.2 * height * width  # a line around nothing
    assert height / width == pytest.approx(1.0, abs=0.1)  # one square, and only one


def test_a_data_set_is_shown_by_class_and_split(folder: Path, tmp_path: Path):
    rows = [{"id": f"p{n // 2}_{n}", "class": "glioma", "patient": f"p{n // 2}"} for n in range(6)]
    write_csv(folder / "labels.csv", rows, ["id", "class", "patient"])
    assert show_cases(folder, tmp_path / "sheet.png", columns=1) == 3  # one each of three parts
    assert show_cases(folder, tmp_path / "sheet.png", columns=5) == 6
    assert orange(np.asarray(Image.open(tmp_path / "sheet.png"))).any()


def test_without_patients_there_is_no_split_to_show(folder: Path, tmp_path: Path):
    assert show_cases(folder, tmp_path / "sheet.png", columns=4) == 4


def test_a_run_shows_the_slices_that_it_carries(tmp_path: Path):
    arrays = {"images": np.zeros((3, 8, 8), np.uint8), "masks": np.ones((3, 8, 8), np.uint8)}
    arrays |= {"classes": np.array(["glioma"] * 3), "patients": np.array([""] * 3)}
    for part in ("val", "test"):
        write_npz(tmp_path / f"{part}.npz", ids=np.array(["c0", "c1", "c2"]), **arrays)
    assert show_cases(tmp_path, tmp_path / "sheet.png", columns=2) == 4


def test_a_run_without_slices_and_a_target_of_another_kind_are_told(tmp_path: Path):
    (tmp_path / "state.json").touch()
    with pytest.raises(InputError, match="has no slices yet"):
        show_cases(tmp_path, tmp_path / "sheet.png")
    for out in (tmp_path, tmp_path / "sheet.txt"):
        with pytest.raises(InputError, match=r"a file ending in \.png"):
            show_cases(tmp_path, out)


def test_nothing_to_show_is_said(tmp_path: Path, folder: Path):
    for path in [*(folder / "images").iterdir(), *(folder / "masks").iterdir()]:
        path.unlink()
    with pytest.raises(InputError, match="holds no cases to show"):
        show_cases(folder, tmp_path / "sheet.png")


def test_every_stage_is_timed_on_all_images(folder: Path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "ROUNDS", 1)
    rates = measure_throughput(folder, size=32, images=10, batch=4)
    assert list(rates) == [
        "decode files",
        "decode and resize files",
        "read the cache",
        "augment",
        "read the cache and augment",
        "batches of 4, 0 workers",
    ]
    assert all(len(found) == 1 and found[0] > 0 for found in rates.values())
    table = to_table(rates | {"augment": [3000.4, 1000.0, 2000.0]})
    cells = [[str(cell) for cell in column.cells][3] for column in table.columns]
    assert cells == ["augment", "2,000", "1,000", "3,000"]
