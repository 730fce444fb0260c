"""Splits: shares, patients on one side, copies on one side."""

import numpy as np
import pandas as pd
import pytest

from brainseg.data.leakage import leaking_slices
from brainseg.data.split import SHARES, split_cases
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
    table = pd.DataFrame(rows, columns=["id", "class", "patient", "cluster"])
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_and_no_copy_straddles_the_parts(seed: int):
    table = make_table(seed=seed)
    parts = split_cases(table, {"name": "patient", "seed": seed})
    assert (parts.groupby(table["patient"]).nunique() == 1).all()
    assert (parts.groupby(table["cluster"]).nunique() == 1).all()
    assert leaking_slices(table, parts) == 0


@pytest.mark.parametrize("kind", ["patient", "random"])
def test_every_class_is_dealt_60_20_20(kind: str):
    table = make_table()
    shares = pd.crosstab(
        table["class"], split_cases(table, {"name": kind, "seed": 0}), normalize="index"
    )
    for part, share in SHARES.items():
        np.testing.assert_allclose(shares[part], share, atol=0.05)


def test_random_split_leaks_patients_and_says_how_many_slices():
    table = make_table()
    parts = split_cases(table, {"name": "random", "seed": 0})
    test = table[parts == "test"]
    elsewhere = set(table[parts != "test"]["patient"].dropna())
    expected = sum(patient in elsewhere for patient in test["patient"])
    assert leaking_slices(table, parts) == expected > 0
    assert (parts.groupby(table["cluster"]).nunique() == 1).all()


def test_seed_makes_the_split():
    table = make_table()
    first = split_cases(table, {"name": "patient", "seed": 1})
    pd.testing.assert_series_equal(first, split_cases(table, {"name": "patient", "seed": 1}))
    assert (first != split_cases(table, {"name": "patient", "seed": 2})).any()


def test_patients_that_share_an_image_stay_together():
    table = make_table()
    p0, p2 = (table.index[table["patient"] == patient][0] for patient in ("p0", "p2"))
    table.loc[p2, "cluster"] = table.loc[p0, "cluster"]
    parts = split_cases(table, {"name": "patient", "seed": 0})
    together = table["patient"].isin(["p0", "p2"])
    assert parts[together].nunique() == 1


def test_three_patients_go_to_three_parts():
    table = pd.DataFrame(
        {
            "id": list("abcdef"),
            "class": "glioma",
            "patient": ["x", "x", "x", "x", "y", "z"],
            "cluster": list("abcdef"),
        }
    )
    parts = split_cases(table, {"name": "patient", "seed": 0})
    assert set(parts) == set(SHARES)
    assert (parts[table["patient"] == "x"] == "train").all()


def test_too_few_patients_unknown_patients_and_unknown_split_are_refused():
    table = make_table(patients=5)
    with pytest.raises(InputError, match="class pituitary has 2 patients; a split"):
        split_cases(table, {"name": "patient", "seed": 0})
    unknown = table.assign(patient=None)
    with pytest.raises(InputError, match=r"--from-mat DIR.*split=random"):
        split_cases(unknown, {"name": "patient", "seed": 0})
    assert set(split_cases(unknown, {"name": "random", "seed": 0})) == set(SHARES)
    with pytest.raises(InputError, match="Unknown split stratified"):
        split_cases(table, {"name": "stratified", "seed": 0})


def test_tumour_free_slices_do_not_change_a_patients_class():
    table = make_table()
    healthy = table[table["patient"].notna()].copy()
    healthy["id"], healthy["class"] = healthy["id"] + "-free", "notumor"
    healthy["cluster"] = healthy["cluster"] + "-free"
    both = pd.concat([table, healthy, healthy.assign(id=healthy["id"] + "2")], ignore_index=True)
    parts = split_cases(both, {"name": "patient", "seed": 0})
    tumor = both["class"] != "notumor"
    shares = pd.crosstab(both["class"][tumor], parts[tumor], normalize="index")
    for part, share in SHARES.items():
        np.testing.assert_allclose(shares[part], share, atol=0.06)
    assert (parts.groupby(both["patient"]).nunique() == 1).all()


def kfold(fold: int, folds: int = 5) -> dict[str, object]:
    return {"name": "kfold", "seed": 0, "fold": fold, "folds": folds}


def test_each_case_is_tested_in_one_fold_and_no_patient_straddles():
    table = make_table()
    all_parts = pd.DataFrame({fold: split_cases(table, kfold(fold)) for fold in range(5)})
    assert ((all_parts == "test").sum(axis=1) == 1).all()
    assert ((all_parts == "val").sum(axis=1) == 1).all()
    for fold in range(5):
        assert (all_parts[fold].groupby(table["patient"]).nunique() == 1).all()
        assert (all_parts[fold].groupby(table["cluster"]).nunique() == 1).all()
        shares = pd.crosstab(table["class"], all_parts[fold], normalize="index")
        np.testing.assert_allclose(shares["test"], 0.2, atol=0.07)
    pd.testing.assert_series_equal(all_parts[0] == "val", all_parts[1] == "test", check_names=False)


def test_published_folds_are_taken_and_patients_stay_together():
    table = make_table()
    numbers = table["patient"].str[1:].astype(float)
    table["fold"] = (numbers % 5).astype("Int64")  # no-tumour slices have none
    parts = split_cases(table, kfold(3))
    tumor = table["patient"].notna()
    assert ((parts == "test") == (numbers % 5 == 3))[tumor].all()
    assert set(parts[~tumor]) == set(SHARES)
    stray = table.index[table["patient"] == "p3"][0]
    table.loc[stray, "fold"] = 0  # the patient's other slices outvote it
    assert split_cases(table, kfold(3))[stray] == "test"
    other = split_cases(table, kfold(3, folds=4))  # not as many as were published
    assert ((other == "test") != (numbers % 5 == 3))[tumor].any()


@pytest.mark.parametrize(("fold", "folds"), [(5, 5), (-1, 5), (0, 2)])
def test_folds_out_of_range_are_refused(fold: int, folds: int):
    with pytest.raises(InputError, match="expected 3 folds or more"):
        split_cases(make_table(), kfold(fold, folds))


@pytest.mark.parametrize("split", [{"name": "patient", "seed": 0}, kfold(1)])
def test_a_given_test_set_is_the_test_split(split: dict):
    table = make_table()
    table["set"] = np.where(table["class"] == "pituitary", "test", "root")
    parts = split_cases(table, split)
    assert ((parts == "test") == (table["class"] == "pituitary")).all()
    inner = parts[parts != "test"].value_counts(normalize=True)
    expected = 0.75 if split["name"] == "patient" else 0.8
    assert inner["train"] == pytest.approx(expected, abs=0.06)
