"""Splits: shares, patients on one side, copies on one side."""

import numpy as np
import pandas as pd
import pytest

from brainseg.data.split import PARTS, leaking_slices, split_cases
from brainseg.errors import InputError


def make_table(patients: int = 40, seed: int = 0) -> pd.DataFrame:
    """Patients with 1 to 20 slices each, in two tumour classes, and copies among no-tumour."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{patient}-{k}", ("glioma", "pituitary")[patient % 2], f"p{patient}", f"c{patient}-{k}")
        for patient in range(patients)
        for k in range(rng.integers(1, 21))
    ]
    rows += [(f"n{k}", "notumor", None, f"copy{k // 3}") for k in range(90)]
    table = pd.DataFrame(rows, columns=["id", "class", "patient", "content"])
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_and_no_copy_straddles_the_parts(seed: int):
    table = make_table(seed=seed)
    parts = split_cases(table, "patient", seed)
    assert (parts.groupby(table["patient"]).nunique() == 1).all()
    assert (parts.groupby(table["content"]).nunique() == 1).all()
    assert leaking_slices(table, parts) == 0


@pytest.mark.parametrize("kind", ["patient", "random"])
def test_every_class_is_dealt_60_20_20(kind: str):
    table = make_table()
    shares = pd.crosstab(table["class"], split_cases(table, kind, 0), normalize="index")
    for part, share in PARTS.items():
        np.testing.assert_allclose(shares[part], share, atol=0.05)


def test_random_split_leaks_patients_and_says_how_many_slices():
    table = make_table()
    parts = split_cases(table, "random", 0)
    test = table[parts == "test"]
    elsewhere = set(table[parts != "test"]["patient"].dropna())
    expected = sum(patient in elsewhere for patient in test["patient"])
    assert leaking_slices(table, parts) == expected > 0
    assert (parts.groupby(table["content"]).nunique() == 1).all()


def test_seed_makes_the_split():
    table = make_table()
    first = split_cases(table, "patient", 1)
    pd.testing.assert_series_equal(first, split_cases(table, "patient", 1))
    assert (first != split_cases(table, "patient", 2)).any()


def test_patients_that_share_an_image_stay_together():
    table = make_table()
    p0, p2 = (table.index[table["patient"] == patient][0] for patient in ("p0", "p2"))
    table.loc[p2, "content"] = table.loc[p0, "content"]
    parts = split_cases(table, "patient", 0)
    together = table["patient"].isin(["p0", "p2"])
    assert parts[together].nunique() == 1


def test_three_patients_go_to_three_parts():
    table = pd.DataFrame(
        {
            "id": list("abcdef"),
            "class": "glioma",
            "patient": ["x", "x", "x", "x", "y", "z"],
            "content": list("abcdef"),
        }
    )
    parts = split_cases(table, "patient", 0)
    assert set(parts) == set(PARTS)
    assert (parts[table["patient"] == "x"] == "train").all()


def test_too_few_patients_unknown_patients_and_unknown_split_are_refused():
    table = make_table(patients=5)
    with pytest.raises(InputError, match="class pituitary has 2 patients"):
        split_cases(table, "patient", 0)
    unknown = table.assign(patient=None)
    with pytest.raises(InputError, match=r"--from-mat DIR.*split=random"):
        split_cases(unknown, "patient", 0)
    assert set(split_cases(unknown, "random", 0)) == set(PARTS)
    with pytest.raises(InputError, match="split=stratified is unknown"):
        split_cases(table, "stratified", 0)
