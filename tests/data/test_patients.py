"""Names of files and folders tell patients from examinations, and say when they cannot."""

import pytest

from brainseg.data.layouts.patients import find_doubtful, find_patients


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (["PAT01/ses-1", "PAT01/ses-2", "PAT02/ses-1"], ["PAT01", "PAT01", "PAT02"]),
        (["sub-01/ses-a/anat", "sub-01/ses-b/anat", "sub-02/anat"], ["sub-01", "sub-01", "sub-02"]),
        (["sub-01_ses-1_T1w", "sub-01_ses-2_T1w"], ["sub-01", "sub-01"]),
        (["BraTS-GLI-00001-000", "BraTS-GLI-00001-001"], ["BraTS-GLI-00001"] * 2),
        (
            ["BraTS-MEN-RT-0001-1", "BraTS-MEN-RT-0002-1"],
            ["BraTS-MEN-RT-0001", "BraTS-MEN-RT-0002"],
        ),
        (["UPENN-GBM-00002_11", "UPENN-GBM-00002_21"], ["UPENN-GBM-00002"] * 2),
        (["PAT01_ses-1_t1c", "PAT01_ses-2_t1c", "PAT02_ses-1_t1c"], ["PAT01", "PAT01", "PAT02"]),
        (["PAT01/2019-03-02", "PAT01/20200417"], ["PAT01", "PAT01"]),
        (["TCGA-02-0003/1997.06.08", "TCGA-02-0006/1996.08.23"], ["TCGA-02-0003", "TCGA-02-0006"]),
        (["P-1/06-08-1997-NA-MRI", "P-1/07-08-1997-NA-MRI"], ["P-1", "P-1"]),
        (["Patient-001/week-000-1", "Patient-001/week-044"], ["Patient-001"] * 2),
        (["PatientID_0003/Timepoint_1", "PatientID_0003/Timepoint_2"], ["PatientID_0003"] * 2),
        (["UCSF-PDGM-0429", "UCSF-PDGM-0429_FU003d"], ["UCSF-PDGM-0429"] * 2),
        (["anna/baseline", "anna/follow-up2", "bert/baseline"], ["anna", "anna", "bert"]),
        (["TCGA_CS_4941_19960909", "TCGA_CS_4942_19970222"], ["TCGA_CS_4941", "TCGA_CS_4942"]),
    ],
)
def test_examinations_of_one_patient_are_joined(paths: list[str], patients: list[str]):
    places = [tuple(path.split("/")) for path in paths]
    assert find_patients(places) == patients
    assert find_doubtful(places) == []


@pytest.mark.parametrize(
    "paths",
    [
        ["BRATS_001", "BRATS_002"],
        ["imagesTr/BRATS_001", "imagesTr/BRATS_002"],
        ["BraTS2021_00001", "BraTS2021_00002"],
        ["BraTS20_Training_001", "BraTS20_Training_002"],
        ["TCGA-02-0003", "TCGA-02-0006"],
        ["glioma/anna", "glioma/bert"],
        ["Brats18_2013_2_1", "Brats18_2013_10_1"],
        ["MGH_20190302", "MGH_20190305"],  # two people of one hospital?
        ["MGH/2019-03-02", "MGH/2019-03-05"],
        ["brain_visit_001", "brain_visit_002"],
    ],
)
def test_different_people_are_never_joined(paths: list[str]):
    places = [tuple(path.split("/")) for path in paths]
    assert len(set(find_patients(places))) == len(places)


@pytest.mark.parametrize(
    "paths",
    [
        ["P01_1", "P01_2"],
        ["set/P01-01", "set/P01-02"],
        ["RHUH-0001/0", "RHUH-0001/1"],
        ["P01/scan a", "P01/scan b"],
        ["ses-1", "ses-2"],
        ["20190302", "20190305"],
    ],
)
def test_what_names_do_not_tell_is_doubtful(paths: list[str]):
    places = [tuple(path.split("/")) for path in paths]
    assert len(set(find_patients(places))) == 2
    assert find_doubtful(places) == [paths]
