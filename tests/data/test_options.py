"""Options of layouts: the types of their readers, whatever is typed."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brainseg.data.cases import LAYOUTS, read_set
from brainseg.data.layouts.options import check_options, option_types, split_options
from brainseg.errors import InputError


def test_options_are_typed_as_name_and_value():
    assert split_options(["planes=axial", "image=a=b"]) == {"planes": "axial", "image": "a=b"}
    with pytest.raises(InputError, match="an option as name=value"):
        split_options(["planes"])
    with pytest.raises(InputError, match="every is given twice: 2 and 3"):
        split_options(["every=2", "every=3"])


@pytest.mark.parametrize(
    ("layout", "given", "expected"),
    [
        ("nifti", {"image": "0002", "label": 1}, {"image": "0002", "label": "1"}),
        ("nifti", {"channel": "-1", "every": "2"}, {"channel": -1, "every": 2}),
        ("nifti", {"planes": "axial, coronal"}, {"planes": ["axial", "coronal"]}),
        ("nifti", {"planes": ["axial"]}, {"planes": ["axial"]}),
        ("folder", {"patient_pattern": 1}, {"patient_pattern": "1"}),
    ],
)
def test_options_have_the_types_of_their_reader(layout: str, given: dict, expected: dict):
    assert check_options(layout, given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel": "t1c"}, "Expected channel as a whole number; found 't1c'."),
        ({"channel": True}, "Expected channel as a whole number; found True."),
        ({"every": 1.5}, "Expected every as a whole number; found 1.5."),
        ({"image": ["a"]}, "Expected image as text; found ['a']."),
        ({"image": ""}, "Expected image as text; found ''."),
        ({"planes": "axial,"}, "Expected planes as names with commas between; found 'axial,'."),
        ({"planes": {"a": 1}}, "Expected planes as names with commas between; found {'a': 1}."),
        ({"planse": "axial"}, "patient_pattern. Did you mean planes?"),
    ],
)
def test_values_of_another_type_are_refused(given: dict, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        check_options("nifti", given)


def test_segments_may_be_names_or_numbers():
    assert check_options("dicom", {"segments": [1, "Tumour"]}) == {"segments": ["1", "Tumour"]}
    assert check_options("dicom", {"segments": "[1, a b]"}) == {"segments": ["1", "a b"]}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NAMES = sorted({name for layout in LAYOUTS for name in option_types(layout)})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LAYOUTS), st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=2))
@example("nifti", {"every": "9" * 5000})
@example("nifti", {"labels": [float("nan")]})
@example("lgg", {"labels": float("inf")})
def test_any_value_is_converted_or_refused(layout: str, options: dict):
    try:
        found = check_options(layout, options)
    except InputError:
        return
    assert found.keys() == options.keys()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import nibabel as nib

    folder = tmp_path_factory.mktemp("options") / "set" / "P1"
    folder.mkdir(parents=True)
    values = np.random.default_rng(0).uniform(50, 99, (9, 9, 9)).astype(np.float32)
    mask = (np.indices((9, 9, 9)).max(axis=0) < 3).astype(np.uint8)
    for name, array in (("t1c", values), ("seg", mask)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii")
    return folder.parent


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(option_types("nifti"))), st.text(min_size=1, max_size=8))
@example("patient_pattern", "(a{99999999999999999999})")
@example("image", "(" * 5000 + ")" * 5000)
@example("every", "9" * 30)
@example("channel", "-1")
@example("image", "0002")
def test_whatever_is_typed_works_or_is_refused(root: Path, tmp_path: Path, name: str, value: str):
    try:
        cases = read_set("nifti", root, tmp_path, split_options([f"{name}={value}"]))
    except InputError as error:
        assert len(str(error)) < 20_000  # noqa: PT017
    else:
        assert 0 < len(cases) <= 9 * 3
