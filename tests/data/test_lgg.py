"""The LGG set: what pairs with nothing is named."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from brainseg.data.case import Problem
from brainseg.data.cases import detect_layout, read_set
from brainseg.data.image import read_image, read_mask
from brainseg.data.intensity import to_grey
from brainseg.errors import InputError

HEAD = np.full((32, 32), 60, np.uint8)
DRAWN = np.zeros((32, 32), np.uint8)
DRAWN[4:9, 5:9] = 255


@pytest.fixture
def root(tmp_path: Path, save) -> Path:
    folder = tmp_path / "kaggle_3m" / "TCGA_A"
    for number in (1, 2, 3):
        save(folder / f"TCGA_A_{number}.tif", np.dstack([HEAD, HEAD + number, HEAD]))
        save(folder / f"TCGA_A_{number}_mask.tif", DRAWN)
    return tmp_path / "kaggle_3m"


def test_endings_in_capitals_pair(root: Path, tmp_path: Path):
    for path in list((root / "TCGA_A").iterdir()):
        path.rename(path.with_name(path.name.replace("_mask.tif", "_MASK.TIF")))
    assert detect_layout(root) == "lgg"
    cases = read_set("lgg", root, tmp_path / "cache")
    assert len(cases) == 3
    assert np.array_equal(read_mask(cases[0].mask), DRAWN > 0)


def test_a_slice_without_mask_is_left_out_and_named(root: Path, tmp_path: Path):
    (root / "TCGA_A" / "TCGA_A_2_mask.tif").unlink()
    noted: list[Problem] = []
    cases = read_set("lgg", root, tmp_path / "cache", on_problem=noted.append)
    assert [case.id for case in cases] == ["TCGA_A_1", "TCGA_A_3"]
    assert [(problem.fatal, "TCGA_A_2.tif" in problem.message) for problem in noted] == [
        (False, True)
    ]


def test_a_mask_without_image_is_fatal(root: Path, tmp_path: Path):
    (root / "TCGA_A" / "TCGA_A_2.tif").unlink()
    with pytest.raises(InputError, match=r"TCGA_A_2_mask\.tif has no image"):
        read_set("lgg", root, tmp_path / "cache")


def test_labels_are_chosen(root: Path, tmp_path: Path, save):
    for number in (1, 2, 3):
        save(root / "TCGA_A" / f"TCGA_A_{number}_mask.tif", np.where(DRAWN, number, 0).astype("u1"))
    cases = read_set("lgg", root, tmp_path / "cache", {"labels": "3"})
    assert [case.label for case in cases] == ["notumor", "notumor", "glioma"]


def test_a_channel_of_16_bits_is_scaled(root: Path, tmp_path: Path):
    deep = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 60
    path = root / "TCGA_A" / "TCGA_A_1.tif"
    tifffile.imwrite(path, np.dstack([deep * 0, deep, deep * 0]), photometric="rgb")
    case = read_set("lgg", root, tmp_path / "cache")[0]
    assert np.array_equal(read_image(case.image), to_grey(deep, ""))


def test_two_dates_of_one_patient_are_one_patient(root: Path, tmp_path: Path):
    for date in ("19970222", "19980101"):
        (root / f"TCGA_CS_4942_{date}").mkdir()
        for path in (root / "TCGA_A").iterdir():
            name = path.name.replace("TCGA_A", f"TCGA_CS_4942_{date}")
            (root / f"TCGA_CS_4942_{date}" / name).write_bytes(path.read_bytes())
    cases = read_set("lgg", root, tmp_path / "cache")
    assert len(cases) == 9
    assert {case.patient for case in cases} == {"TCGA_A", "TCGA_CS_4942"}
