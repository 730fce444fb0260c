"""A data set beside the one that was trained on: what training knows of it is left out."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from brainseg.data.external import find_copies, load_external
from brainseg.data.leakage import LEFT_OUT
from brainseg.errors import InputError

SIZE = 32


def picture(seed):
    """Smooth noise, so that thumbnails of two pictures differ and those of copies do not."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6), dtype=np.uint8)
    return Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)


def mask():
    pixels = np.zeros((48, 48), np.uint8)
    pixels[10:20, 12:30] = 255
    return Image.fromarray(pixels)


def write(root, pictures, labels=None):
    """A folder of images and masks; `labels` are lines of labels.csv."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, image in pictures.items():
        image.save(root / "images" / f"{name}.png")
        mask().save(root / "masks" / f"{name}.png")
    if labels:
        (root / "labels.csv").write_text("id,class,patient\n" + "\n".join(labels) + "\n")
    return root


@pytest.fixture
def trained(tmp_path):
    """Data that a network was trained on, and the part of each case that it knows."""
    pictures = {f"t{number}": picture(number) for number in range(4)}
    labels = [f"t{number},glioma,q{number}" for number in range(4)]
    root = write(tmp_path / "trained", pictures, labels)
    return {"name": "folder", "root": str(root)}, {"t0": "train", "t1": "val", "t2": "train"}


def load(root, cache, trained, layout=None):
    data, known = trained
    return load_external(root, layout, SIZE, cache=str(cache), trained=data, known=known)


def test_known_images_are_left_out_however_they_are_turned(trained, tmp_path):
    pictures = {
        "new0": picture(10),
        "new1": picture(11),
        "same": picture(0),
        "mirrored": ImageOps.mirror(picture(1)),
        "held_out": picture(3),  # the network's own test image: training does not know it
    }
    found = load(write(tmp_path / "other", pictures), tmp_path / "cache", trained)
    parts = dict(zip(found.table["id"], found.parts, strict=True))
    tested = {name for name, part in parts.items() if part == "test"}
    assert tested == {"new0", "new1", "held_out"}
    assert parts["same"] == parts["mirrored"] == LEFT_OUT
    assert found.unchecked is None
    assert {leak["id"]: (leak["other"], leak["split"]) for leak in found.leaks} == {
        "same": ("t0", "train"),
        "mirrored": ("t1", "val"),
    }
    assert len(found.table) == len(found.slices.images) == len(found.slices.masks) == 5
    assert found.slices.images.shape == (5, SIZE, SIZE)
    index = found.table["id"].tolist().index("new1")
    expected = np.asarray(picture(11).resize((SIZE, SIZE), Image.Resampling.BOX), float)
    assert np.abs(found.slices.images[index] - expected).mean() < 12


def test_known_patients_are_left_out(trained, tmp_path):
    root = write(
        tmp_path / "other",
        {"a": picture(10), "b": picture(11)},
        ["a,glioma,q0", "b,glioma,q3"],  # q3 was not trained on
    )
    found = load(root, tmp_path / "cache", trained)
    assert found.parts.tolist() == [LEFT_OUT, "test"]
    assert [leak["shared"] for leak in found.leaks] == ["patient"]
    data, known = trained
    others = load_external(
        root,
        None,
        SIZE,
        cache=str(tmp_path / "cache"),
        trained=data,
        known=known,
        same_patients=False,
    )
    assert others.parts.tolist() == ["test", "test"]


def test_the_data_of_the_training_leave_its_test_images(trained, tmp_path):
    data, _ = trained
    found = load(tmp_path / "trained", tmp_path / "cache", trained)
    tested = found.table.loc[found.parts == "test", "id"].tolist()
    assert tested == ["t3"]
    assert {leak["id"] for leak in found.leaks} == {"t0", "t1", "t2"}
    assert data["root"] == str(tmp_path / "trained")


def test_copies_within_the_other_set_keep_their_numbers(trained, tmp_path):
    pictures = {"a": picture(10), "b": picture(11), "copy": picture(11)}
    found = load(write(tmp_path / "other", pictures), tmp_path / "cache", trained)
    (pair,) = found.slices.pairs
    assert [found.table["id"][pair.a], found.table["id"][pair.b]] == ["b", "copy"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data, known: (None, known), "belongs to no run"),
        (lambda data, known: (data, {}), "belongs to no run"),
        (
            lambda data, known: (data | {"root": "gone"}, known),
            "can no longer be read (The data folder gone does not exist",
        ),
        (
            lambda data, known: (data | {"negatives": "away"}, known),
            "(The folder data.negatives=away does not exist",
        ),
        (lambda data, known: (data, known | {"t9": "train"}), "1 of its cases are gone"),
    ],
)
def test_what_cannot_be_checked_is_said(trained, tmp_path, change, reason):
    root = write(tmp_path / "other", {"new": picture(10), "same": picture(0)})
    found = load(root, tmp_path / "cache", change(*trained))
    assert found.parts.tolist() == ["test", "test"]
    assert found.leaks == []
    assert reason in found.unchecked


def break_an_image(root):
    (root / "images" / "t1.png").write_bytes(b"no picture")


def empty(root):
    for file in (*root.glob("images/*"), *root.glob("masks/*")):
        file.unlink()


def lose_an_image(root):
    (root / "images" / "t1.png").unlink()
    (root / "images" / "t1.png").symlink_to(root / "away.png")


@pytest.mark.parametrize(
    ("change", "reason"),
    [(break_an_image, "t1.png"), (empty, "is empty"), (lose_an_image, "t1.png")],
)
def test_training_data_that_cannot_be_read_do_not_stop_it(trained, tmp_path, change, reason):
    change(tmp_path / "trained")
    root = write(tmp_path / "other", {"new": picture(10)})
    found = load(root, tmp_path / "cache", trained)
    assert found.parts.tolist() == ["test"]
    assert "the training's data can no longer be read" in found.unchecked
    assert reason in found.unchecked
    assert "\n" not in found.unchecked
    (root / "images" / "new.png").write_bytes(b"nor this")
    with pytest.raises(InputError, match=r"1 of 1 cases cannot be used:\s+.*new\.png"):
        load(root, tmp_path / "cache", trained)


def test_what_is_wrong_with_the_other_set_is_not_the_trainings_fault(trained, tmp_path):
    root = write(tmp_path / "other", {"new": picture(10)})
    (root / "images" / "new.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 1 cases cannot be used:\s+.*new\.png"):
        load(root, tmp_path / "cache", trained)
    for name in ("glioma/g.jpg", "glioma/g.png"):  # only the joint sets are asked for ids
        (tmp_path / "twice" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(20).save(tmp_path / "twice" / name)
    with pytest.raises(InputError, match="Duplicate ids"):
        load(tmp_path / "twice", tmp_path / "cache", trained)


def test_copies_are_found_however_they_are_turned_or_chained(tmp_path):
    pictures = {
        "other": picture(10),
        "same": picture(0),
        "turned": picture(0).rotate(90),
        "other2": picture(11),
    }
    found = load(write(tmp_path / "other", pictures), tmp_path / "cache", (None, {}))
    shrunk = [picture(seed).resize((SIZE, SIZE), Image.Resampling.BOX) for seed in (0, 5)]
    own = {"images": np.stack(shrunk), "patients": np.array(["", ""])}
    copies = dict(zip(found.table["id"], find_copies(found, own), strict=True))
    assert copies == {"other": False, "same": True, "turned": True, "other2": False}
    none = {"images": np.zeros((0, SIZE, SIZE), np.uint8), "patients": np.array([], str)}
    assert not find_copies(found, none).any()


def test_neighbouring_slices_of_a_patient_are_no_copies(tmp_path):
    pixels = np.asarray(picture(0), float)
    near = Image.fromarray((pixels + np.linspace(0, 20, 48)).clip(0, 255).astype(np.uint8))
    root = write(tmp_path / "other", {"a": near}, ["a,glioma,q0"])
    found = load(root, tmp_path / "cache", (None, {}))
    image = np.asarray(picture(0).resize((SIZE, SIZE), Image.Resampling.BOX))[None]
    for patient, expected in (("", True), ("q1", True), ("q0", False)):
        own = {"images": image, "patients": np.array([patient])}
        assert find_copies(found, own).tolist() == [expected]


def test_class_folders_have_no_masks(trained, tmp_path):
    root = tmp_path / "classes"
    for name, image in {"glioma/g.jpg": picture(20), "notumor/n.jpg": picture(21)}.items():
        (root / "Testing" / name).parent.mkdir(parents=True)
        image.save(root / "Testing" / name)
    found = load(root, tmp_path / "cache", trained)
    by_class = found.table.set_index("class")
    assert by_class["unmasked"].to_dict() == {"glioma": True, "notumor": False}
    assert not found.slices.masks.any()


def test_nothing_new_is_refused(trained, tmp_path):
    root = write(tmp_path / "other", {"same": picture(0)})
    with pytest.raises(InputError, match=r"All 1 images of .*other are known"):
        load(root, tmp_path / "cache", trained)


@pytest.mark.parametrize("known", [True, False])
def test_what_is_no_data_set_is_refused(trained, tmp_path, known):
    (tmp_path / "empty").mkdir()
    for folder, message in {"gone": "does not exist", "empty": "none of the layouts"}.items():
        with pytest.raises(InputError, match=message):
            load(tmp_path / folder, tmp_path / "cache", trained if known else (None, {}))
    root = write(tmp_path / "other", {"new": picture(10)})
    with pytest.raises(InputError, match="Unknown layout tiff"):
        load(root, tmp_path / "cache", trained if known else (None, {}), layout="tiff")
