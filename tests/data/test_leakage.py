"""What the test split shares with the others: found, named, refused, left out or let be."""

import logging

import pandas as pd
import pytest

from brainseg.data.duplicates import Pair
from brainseg.data.leakage import (
    LEFT_OUT,
    check_masked,
    find_leaks,
    leaking_slices,
    leave_out_copies,
    settle_leaks,
    warn_of_contradictions,
)
from brainseg.errors import InputError

TABLE = pd.DataFrame(
    {
        "id": ["train0", "val0", "own", "copy", "turned", "sibling", "chained"],
        "patient": ["p", "q", "x", None, "y", "q", None],
        "cluster": [0, 1, 2, 0, 1, 3, 0],
        "unmasked": False,
    }
)
PARTS = pd.Series(["train", "val", *["test"] * 5])
PAIRS = [
    Pair(0, 3, "exact", "none", 0.0),
    Pair(1, 4, "near", "rotate90", 0.001),
    Pair(3, 6, "near", "none", 0.002),
]
LEAKS = find_leaks(TABLE, PARTS, PAIRS)


def test_leaks_name_the_copy_and_how_it_is_turned():
    found = {leak["id"]: (leak["shared"], leak["other"], leak["kind"]) for leak in LEAKS}
    assert found == {
        "copy": ("image", "train0", "exact"),
        "turned": ("image", "val0", "near"),
        "sibling": ("patient", "val0", None),
        "chained": ("image", "train0", "near"),
    }
    by_id = {leak["id"]: leak for leak in LEAKS}
    assert by_id["turned"]["transform"] == "rotate270"  # from the test image to the other
    assert by_id["turned"]["split"] == "val"
    assert leaking_slices(TABLE, PARTS) == 1


def test_leaks_are_refused_by_name():
    with pytest.raises(InputError) as caught:
        settle_leaks(TABLE, PARTS, LEAKS, "refuse", random=False)
    message = str(caught.value)
    assert "3 of 5 test images are also in training or validation" in message
    assert "turned = val0 in val (rotate270)" in message
    assert "sibling is of the same patient as val0 in val" in message
    assert "split.leaks=drop" in message
    assert "split.leaks=allow" in message


def test_what_cannot_be_scored_is_not_offered_to_be_accepted():
    bare = TABLE.assign(unmasked=TABLE["id"] == "copy")
    with pytest.raises(InputError, match=r"1 of them have no mask") as caught:
        settle_leaks(bare, PARTS, LEAKS, "refuse", random=False)
    assert "split.leaks=allow" not in str(caught.value)


def test_leaks_are_left_out_of_the_test_split_on_demand():
    parts = settle_leaks(TABLE, PARTS, LEAKS, "drop", random=False)
    assert parts.tolist() == ["train", "val", "test", *[LEFT_OUT] * 4]


def test_allowed_leaks_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        parts = settle_leaks(TABLE, PARTS, LEAKS, "allow", random=False)
    assert parts.equals(PARTS)
    assert "3 of 5 test images are also in" in caplog.text


def test_split_random_shares_patients_but_no_images():
    shared_patients = [leak for leak in LEAKS if leak["shared"] == "patient"]
    parts = settle_leaks(TABLE, PARTS, shared_patients, "refuse", random=True)
    assert parts.equals(PARTS)
    with pytest.raises(InputError, match="3 of 5 test images are also in"):
        settle_leaks(TABLE, PARTS, LEAKS, "refuse", random=True)


def test_without_leaks_nothing_is_said(caplog):
    assert settle_leaks(TABLE, PARTS, [], "refuse", random=False).equals(PARTS)
    assert not caplog.records


def test_one_of_each_cluster_is_kept_on_each_side():
    table = pd.DataFrame(
        {
            "class": ["notumor", "glioma", "glioma", "notumor", "glioma"],
            "cluster": [0, 0, 1, 1, 0],
            "set": ["negatives", "root", "root", "negatives", "test"],
        }
    )
    left_out = leave_out_copies(table, "one_per_cluster")
    assert left_out.tolist() == [True, False, False, True, False]  # tumours stay
    assert not leave_out_copies(table, "keep").any()


def test_copies_with_and_without_tumour_are_told(caplog):
    table = TABLE.assign(**{"class": ["glioma", "glioma", "notumor", "notumor", *["glioma"] * 3]})
    warn_of_contradictions(table, PARTS)
    assert "1 images without tumour are copies of images with one" in caplog.text
    assert "copy = train0" in caplog.text
    caplog.clear()
    warn_of_contradictions(table, PARTS.where(PARTS.index != 3, LEFT_OUT))
    assert not caplog.records


def test_tumours_without_outline_are_refused_unless_left_out():
    table = TABLE.assign(unmasked=[*[False] * 6, True])
    with pytest.raises(InputError, match=r"1 of 7 images have no mask, such as chained"):
        check_masked(table, PARTS)
    check_masked(table, PARTS.where(PARTS.index != 6, LEFT_OUT))


def test_unknown_values_are_refused():
    with pytest.raises(InputError, match=r"split\.leaks ignore\. Choose from: refuse, drop, allow"):
        settle_leaks(TABLE, PARTS, [], "ignore", random=False)
    with pytest.raises(InputError, match="Choose from: keep, one_per_cluster"):
        leave_out_copies(TABLE, "none")
