"""From a configuration to cases, slices and parts: several data sets, copies, leaks, facts."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from brainseg.data.describe import describe_data
from brainseg.data.image import read_image
from brainseg.data.layouts.options import READERS, option_types
from brainseg.data.leakage import LEFT_OUT
from brainseg.data.load import SHARED, divide, load_data
from brainseg.data.phantom.write import write_phantom
from brainseg.errors import InputError

CONF = Path(__file__).parents[2] / "conf"
SPLIT = {"name": "patient", "seed": 0, "leaks": "refuse"}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantom(root, patients=12, slices=2, size=32, seed=0)
    return root


@pytest.fixture
def configure(phantoms: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def build(**changes: Any) -> dict[str, Any]:
        data = {"name": "folder", "root": str(phantoms), "image_size": 32}
        return data | {"cache_dir": str(tmp_path / "cache"), "duplicates": "keep"} | changes

    return build


@pytest.fixture
def foreign(phantoms: Path, tmp_path: Path, save) -> Path:
    """Class folders with a mirrored slice of the phantoms, and others of their own."""
    root = tmp_path / "foreign"
    mirrored = np.fliplr(read_image(phantoms / "images" / "1.png"))
    save(root / "Testing" / "glioma" / "copy.png", mirrored)
    rng = np.random.default_rng(0)
    for number in range(4):
        image = np.kron(rng.integers(0, 255, (8, 8)), np.ones((4, 4))).astype(np.uint8)
        for name in ("a", "b"):  # duplicates
            save(root / "Testing" / "notumor" / f"{number}{name}.png", image)
    return root


def divide_all(data: dict[str, Any], **split: Any):
    table, slices = load_data(data, 0)
    leaks: list[dict[str, Any]] = []
    parts = divide(table, slices, SPLIT | split, data["duplicates"], leaks.extend)
    return table, slices, parts, leaks


def test_copies_of_negatives_stay_on_one_side(configure, foreign: Path):
    table, slices, parts, leaks = divide_all(configure(negatives=str(foreign)))
    joined = table["set"] == "negatives"
    assert joined.sum() == 8
    assert table["id"][joined].str.contains("notumor").all()
    assert table["cluster"][joined].nunique() == 4
    assert (parts[joined].groupby(table["cluster"]).nunique() == 1).all()
    assert leaks == []
    facts = describe_data(table, slices, parts, leaks)
    assert facts["duplicates"] == {
        "exact_pairs": 4, "near_pairs": 0, "clusters": 4, "images_in_clusters": 8,
    }  # fmt: skip
    assert sum(sum(counts.values()) for counts in facts["images"].values()) == 24 + 8
    assert facts["leaking_patients"] == 0


def test_one_of_each_cluster_is_used(configure, foreign: Path):
    data = configure(negatives=str(foreign), duplicates="one_per_cluster")
    table, _, parts, _ = divide_all(data)
    assert (parts == LEFT_OUT).sum() == 4
    assert table["id"][parts == LEFT_OUT].str.endswith("b").all()


def test_a_test_set_that_shares_an_image_is_refused_by_name(configure, foreign: Path):
    data = configure(test=str(foreign))
    with pytest.raises(InputError, match=r"1 of 9 test images are also in") as caught:
        divide_all(data)
    assert "Testing-glioma-copy = 1 in " in str(caught.value)
    assert "(flip_left_right)" in str(caught.value)
    table, _, parts, leaks = divide_all(data, leaks="drop")
    assert [leak["id"] for leak in leaks] == ["Testing-glioma-copy"]
    assert set(table["set"][parts == "test"]) == {"test"}
    assert (parts == "test").sum() == 8
    with pytest.raises(InputError, match="1 of 33 images have no mask"):
        divide_all(data, leaks="allow")


def test_a_patient_in_both_sets_is_refused(configure, phantoms: Path, tmp_path: Path):
    other = tmp_path / "other"
    write_phantom(other, patients=12, slices=1, size=32, seed=1)
    table = other / "labels.csv"
    table.write_text(table.read_text().replace("phantom-1-", "phantom-"))  # the same names
    with pytest.raises(InputError, match=r"12 of 12 test images show patients who are also in"):
        divide_all(configure(test=str(other)))
    _, _, parts, _ = divide_all(configure(test=str(other)), leaks="allow")
    assert parts.value_counts()["test"] == 12


@pytest.mark.parametrize("duplicates", ["keep", "one_per_cluster"])
def test_patients_who_share_an_image_stay_together(configure, phantoms: Path, duplicates: str):
    """Two names of one person are linked by a duplicate image, even if it is left out."""
    root = phantoms.parent / f"couples-{duplicates}"
    shutil.copytree(phantoms, root)
    for patient in (0, 4):  # the gliomas of patients 0, 4 and 8 become one group
        for part in ("images", "masks"):
            source, target = 2 * patient + 1, 2 * (patient + 4) + 2
            shutil.copy(root / part / f"{source}.png", root / part / f"{target}.png")
    with pytest.raises(InputError, match="glioma has 3 patients, linked to 1 by duplicate images"):
        divide_all(configure(root=str(root), duplicates=duplicates))


def test_a_split_without_test_images_is_refused(configure, tmp_path: Path, phantoms: Path):
    copies = tmp_path / "copies"
    shutil.copytree(phantoms, copies)
    with pytest.raises(InputError, match="No case is left for test"):
        divide_all(configure(test=str(copies)), leaks="drop")


def test_the_fingerprint_tells_negatives_from_a_test_set(configure, tmp_path: Path, save):
    other = tmp_path / "other" / "notumor"
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
        save(other / f"{number}.png", image)
    prints = {
        load_data(configure(**{name: str(other.parent)} if name else {}), 0)[1].fingerprint
        for name in (None, "negatives", "test")
    }
    assert len(prints) == 3


def test_a_tumour_of_the_class_notumor_is_refused(configure, folder: Path):
    rows = "\n".join(f"p{n // 2}_{n},notumor,p{n // 2}" for n in range(6))
    (folder / "labels.csv").write_text("id,class,patient\n" + rows)
    with pytest.raises(InputError, match="6 cases are of the class notumor but their masks"):
        load_data(configure(root=str(folder)), 0)


def test_tumours_too_small_for_the_size_are_told(configure, folder: Path, save, caplog):
    rows = "\n".join(f"p{n // 2}_{n},glioma,p{n // 2}" for n in range(6))
    (folder / "labels.csv").write_text("id,class,patient\n" + rows)
    speck = np.zeros((40, 32), np.uint8)
    speck[5, 5] = 255
    save(folder / "masks" / "p0_1.png", speck)
    load_data(configure(root=str(folder), image_size=16), 0)
    assert "1 cases of a tumour class show no tumour at 16×16 pixels, such as p0_1" in caplog.text


def test_options_of_a_layout_reach_its_reader(configure, folder: Path):
    table, _ = load_data(configure(root=str(folder), patient_pattern="(.+)_[0-9]+"), 0)
    assert sorted(set(table["patient"])) == ["p0", "p1", "p2"]
    assert set(table["class"]) == {"tumor"}  # the kind is unknown


def test_a_setting_of_an_older_run_is_no_option_of_the_reader(configure, folder: Path):
    table, _ = load_data(configure(root=str(folder), harmonize=False), 0)
    assert len(table) == 6


@pytest.mark.parametrize("layout", READERS)
def test_the_configuration_offers_what_the_reader_takes(layout: str):
    written = yaml.safe_load((CONF / "data" / f"{layout}.yaml").read_text())
    assert written.keys() - SHARED - {"defaults"} == set(option_types(layout))
    taken = inspect.signature(READERS[layout]).parameters
    for name in written.keys() & taken.keys() - {"root"}:
        assert written[name] == taken[name].default
