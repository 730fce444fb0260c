"""The slices that a run carries: written, read back, and read without image decoders."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainseg.data.cache import Slices
from brainseg.data.parts import read_test, read_val, spread, to_input, write_part, write_split
from brainseg.errors import InputError
from brainseg.files import read_csv, write_npz
from brainseg.run import Run

TABLE = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "class": ["glioma", "notumor", "pituitary"],
        "patient": ["p", "", "q"],
        "unmasked": [False, False, True],
    }
)
IMAGES = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)


def test_chosen_slices_are_read_back(tmp_path: Path):
    run = Run(tmp_path)
    slices = Slices(IMAGES, IMAGES % 2, [], "")
    write_part(run.test, TABLE, slices, np.array([2, 0]))
    arrays = read_test(run)
    assert arrays["ids"].tolist() == ["c", "a"]
    assert arrays["classes"].tolist() == ["pituitary", "glioma"]
    assert arrays["patients"].tolist() == ["q", "p"]
    assert arrays["unmasked"].tolist() == [True, False]
    np.testing.assert_array_equal(arrays["images"], IMAGES[[2, 0]])
    np.testing.assert_array_equal(arrays["masks"], IMAGES[[2, 0]] % 2)
    with pytest.raises(InputError, match=r"has no val\.npz"):
        read_val(run)


def test_files_of_older_versions_have_more_arrays(tmp_path: Path):
    run = Run(tmp_path)
    named = {name: np.array(["a"]) for name in ("ids", "classes", "patients")}
    shown = dict.fromkeys(("images", "masks"), IMAGES[:1])
    write_npz(run.val, **named, **shown, spacing=np.ones((1, 2)))
    assert read_val(run)["ids"].tolist() == ["a"]


def test_the_split_lists_every_case(tmp_path: Path):
    write_split(tmp_path / "split.csv", TABLE, pd.Series(["train", "left_out", "test"]))
    rows = read_csv(tmp_path / "split.csv")
    assert list(rows[0]) == ["id", "class", "patient", "split"]
    assert [row["split"] for row in rows] == ["train", "left_out", "test"]
    assert rows[1] == {"id": "b", "class": "notumor", "patient": "", "split": "left_out"}


def test_inputs_are_between_0_and_1():
    inputs = to_input(np.array([[[0, 255]]], np.uint8))
    assert (inputs.dtype, inputs.shape, inputs.tolist()) == (np.float32, (1, 1, 1, 2), [[[[0, 1]]]])


def test_a_spread_reaches_both_ends():
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 10).tolist() == [0, 1, 2]


def test_reading_slices_imports_no_decoder():
    code = "import sys, brainseg.data.parts; print({'pandas', 'cv2', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
