"""`labels.csv` as spreadsheets of all countries write it."""

from pathlib import Path

import pytest

from brainseg.data.case import Problem, refuse
from brainseg.data.layouts.class_names import find_class
from brainseg.data.layouts.labels import read_labels
from brainseg.errors import InputError

TABLE = "id,class,patient\na,glioma,Müller\nb,notumor,Weiß\n"
READ = {"a": ("glioma", "Müller"), "b": ("notumor", "Weiß")}


def read(root: Path, content: bytes, noted: list[Problem] | None = None, name: str = "labels.csv"):
    (root / name).write_bytes(content)
    problems: list[Problem] = [] if noted is None else noted
    rows = read_labels(root, ["a", "b"], problems.append)
    assert noted is not None or not problems
    return {key: (row["class"], row["patient"]) for key, row in rows.items()}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-16-le-bom"]
)
def test_any_encoding_that_can_be_told(tmp_path: Path, encoding: str):
    data = (
        b"\xff\xfe" + TABLE.encode("utf-16-le")
        if encoding == "utf-16-le-bom"
        else TABLE.encode(encoding)
    )
    assert read(tmp_path, data) == READ


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("id,class,patient", " ID , Class,PATIENT"),
        TABLE.replace("glioma", "Glioma_tumor").replace("notumor", "No Tumor"),
        "\ufeff" + TABLE + "\n,,\n",
        '"id";"class";"patient";"mm"\n"a";"glioma";"Müller";"0,49"\n"b";"notumor";"Weiß";"0,5"\n',
        'id,class,patient,note\na,glioma,Müller,"two\nlines"\nb,notumor,Weiß\n',
        TABLE.replace("ü", "u\u0308"),
    ],
)
def test_what_is_clear_is_taken_as_meant(tmp_path: Path, text: str):
    assert read(tmp_path, text.encode()) == READ


def test_the_name_may_be_in_capitals(tmp_path: Path):
    assert read(tmp_path, TABLE.encode(), name="Labels.CSV") == READ


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.encode("utf-16-le"), "NUL"),
        (b"\xff\xfeabc", "utf-16"),
        (b"", "is empty"),
        (b"a,b\n", "has columns a, b; expected id,class,patient"),
        (b'id,class,patient\na,"glioma,x\n', "is no table"),
        (b"id,class,patient\na,glioma,Doe, Jane\n", "4 fields in the row of a; expected 3"),
        (b"id,class,patient\na,gliom,1\nb,,2\n", "the class gliom"),
        (b"id,class,patient\na,glioma,1\na,glioma,2\nb,,2\n", "repeats ids, such as a"),
        (b"id,class,patient\na,glioma,1\n", "lacks 1 images, such as b"),
    ],
)
def test_what_is_not_clear_is_one_problem(tmp_path: Path, content: bytes, message: str):
    noted: list[Problem] = []
    read(tmp_path, content, noted)
    (problem,) = noted
    assert message in problem.message
    assert problem.fatal
    assert problem.path == str(tmp_path / "labels.csv")


def test_rows_without_an_image_are_named(tmp_path: Path):
    noted: list[Problem] = []
    read(tmp_path, (TABLE + "c,glioma,9\n").encode(), noted)
    (problem,) = noted
    assert "1 rows without an image, such as c" in problem.message
    assert not problem.fatal


def test_a_folder_or_a_dangling_link_is_no_table(tmp_path: Path):
    (tmp_path / "labels.csv").mkdir()
    noted: list[Problem] = []
    assert read_labels(tmp_path, [], noted.append) == {}
    (tmp_path / "labels.csv").rmdir()
    (tmp_path / "labels.csv").symlink_to("gone")
    assert read_labels(tmp_path, [], noted.append) == {}
    assert ["no file" in noted[0].message, "link to gone" in noted[1].message] == [True, True]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("no_tumor", "notumor"),
        ("NoTumor", "notumor"),
        ("no tumour", "notumor"),
        ("Glioma", "glioma"),
        ("glioma_tumor", "glioma"),
        ("Pituitary-Tumour", "pituitary"),
        ("meningioma", "meningioma"),
        ("yes", None),
        ("tumor", None),
        ("", None),
    ],
)
def test_classes_are_known_by_their_usual_spellings(name: str, known: str | None):
    assert find_class(name) == known


def test_a_problem_is_an_error_by_default(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="expected id,class,patient"):
        read_labels(tmp_path, [], refuse)
