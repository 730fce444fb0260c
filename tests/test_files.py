"""Atomic writes: the old file or the new one, never a part."""

import contextlib
import csv
import errno
from pathlib import Path

import numpy as np
import pytest

from brainseg.errors import InputError
from brainseg.files import (
    building,
    make_array,
    read_csv,
    read_json,
    replacing,
    staging,
    write_csv,
    write_json,
    write_npz,
    write_text,
)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "state.json"
    write_text(target, "old")
    with pytest.raises(TypeError), replacing(target) as temporary:
        temporary.write_text("half") + "no number"
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_told_and_cleaned_up(tmp_path: Path):
    with pytest.raises(InputError, match="disk is full"), replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_behind_another_error_is_told(tmp_path: Path):
    behind = RuntimeError("unexpected pos")  # torch.save's
    behind.__context__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(InputError, match="disk is full"), replacing(tmp_path / "a"):
        raise behind


def test_other_os_errors_pass_through(tmp_path: Path):
    with pytest.raises(PermissionError), replacing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "denied")


def test_written_file_has_the_permissions_of_any_other(tmp_path: Path):
    write_text(tmp_path / "atomic", "x")
    (tmp_path / "plain").write_text("x")
    modes = {(tmp_path / name).stat().st_mode for name in ("atomic", "plain")}
    assert len(modes) == 1


def stage(target: Path, **files: str) -> None:
    with staging(target, "c") as made:
        for name, text in files.items():
            (made / name).write_text(text)


def test_results_replace_the_earlier_ones_and_the_table_comes_last(tmp_path: Path, monkeypatch):
    stage(tmp_path, a="1", c="1", d="1")
    (tmp_path / ".new.killed").mkdir()
    placed = []
    replace = Path.replace

    def put(file: Path, target: Path) -> None:
        assert not (tmp_path / "c").exists()
        placed.append(target.name)
        replace(file, target)

    monkeypatch.setattr(Path, "replace", put)
    stage(tmp_path, a="2", b="2", c="2")
    assert placed == ["a", "b", "c"]
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"a": "2", "b": "2", "c": "2", "d": "1"}


def test_a_folder_in_the_place_of_a_result_leaves_the_earlier_ones(tmp_path: Path):
    stage(tmp_path, a="1", c="1")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b is a folder"):
        stage(tmp_path, a="2", b="2", c="2")
    assert [(tmp_path / name).read_text() for name in "ac"] == ["1", "1"]
    assert len(list(tmp_path.iterdir())) == 3


def test_json_round_trip_and_refusal_of_nan(tmp_path: Path):
    value = {"a": [1, 2.5, None], "b": "Größe"}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "v.json", float("nan"))
    assert read_json(tmp_path / "v.json") == value


def test_broken_json_is_named(tmp_path: Path):
    (tmp_path / "v.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"v\.json is not valid JSON"):
        read_json(tmp_path / "v.json")


def test_csv_round_trip(tmp_path: Path):
    write_csv(tmp_path / "t.csv", [{"a": 1, "b": None}, {"a": "x,y", "b": 0.5}], ["a", "b"])
    assert read_csv(tmp_path / "t.csv") == [{"a": "1", "b": ""}, {"a": "x,y", "b": "0.5"}]


def test_csv_with_a_byte_order_mark_as_spreadsheets_write_it(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes("id,class\r\n1,glioma\r\n".encode("utf-8-sig"))
    assert read_csv(tmp_path / "t.csv") == [{"id": "1", "class": "glioma"}]


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_text_to_a_spreadsheet_and_read_as_they_were(text: str, tmp_path: Path):
    write_csv(tmp_path / "t.csv", [{"patient": text}], ["patient"])

    with (tmp_path / "t.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["patient"] == f"'{text}"
    assert read_csv(tmp_path / "t.csv") == [{"patient": text}]


@pytest.mark.parametrize("value", [-3, -0.5, "-0.5", "1e-3", "MR-1", "'quoted'"])
def test_numbers_and_names_stay_as_they_are(value: object, tmp_path: Path):
    write_csv(tmp_path / "t.csv", [{"value": value}], ["value"])

    assert (tmp_path / "t.csv").read_text() == f"value\n{value}\n"


def test_npz_round_trip(tmp_path: Path):
    write_npz(tmp_path / "t.npz", ids=np.array(["a", "b"]), images=np.eye(3, dtype=np.uint8))
    with np.load(tmp_path / "t.npz") as read:
        assert read["ids"].tolist() == ["a", "b"]
        assert (read["images"] == np.eye(3)).all()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "deep" / "folder"
    with contextlib.suppress(KeyError), building(target) as made:
        (made / "half").touch()
        raise KeyError
    assert not list(target.parent.iterdir())
    with building(target) as made:
        (made / "whole").touch()
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_the_folder_of_a_faster_process_is_kept(tmp_path: Path):
    target = tmp_path / "folder"
    with building(target) as made:
        (made / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "theirs"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    told = pytest.raises(InputError, match=r"The disk is full: .*cache could not")
    with told, building(tmp_path / "cache") as made:
        make_array(made / "images.npy", (4, 8, 8), np.uint8)
    assert not list(tmp_path.iterdir())


def test_a_made_array_is_a_file_with_all_its_space(tmp_path: Path):
    array = make_array(tmp_path / "a.npy", (3, 1000), np.uint8)
    array[1] = 7
    array.flush()
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 3000
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy")[1], np.full(1000, 7))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_one_message(tmp_path: Path, content: bytes):
    (tmp_path / "dashboard.json").write_bytes(content)
    with pytest.raises(InputError, match=r"dashboard\.json is not valid JSON .*Restore or remove"):
        read_json(tmp_path / "dashboard.json")
