"""What is told of an error."""

import errno
from pathlib import Path

import pytest

from brainseg.errors import ADVICE, InputError, explain


def test_errors_of_the_program_are_not_explained():
    assert explain(ValueError("odd")) is None
    assert explain(OSError("no number")) is None
    assert explain(InputError("Choose another.")) == "Choose another."


@pytest.mark.parametrize("number", ADVICE)
def test_the_system_s_reason_stands_between_the_path_and_what_to_do(number: int):
    told = explain(OSError(number, "ignored", "some/file"))
    assert told.startswith("some/file: ")
    assert told.endswith(f". {ADVICE[number]}.")


def test_real_errors_of_files(tmp_path: Path):
    (tmp_path / "file").touch()
    for path, words in {
        tmp_path / "none": "No such file or directory. Check the name",
        tmp_path / "file" / "below": "Not a directory. A part of this path is a file",
        tmp_path: "Is a directory. It is a folder; expected a file.",
        tmp_path / ("x" * 300): "File name too long. Choose shorter names: 255 bytes",
    }.items():
        with pytest.raises(OSError, match=r".") as caught:
            path.read_text()
        assert f": {words}" in str(explain(caught.value))


def test_a_path_that_would_fill_the_screen_is_cut():
    told = explain(OSError(errno.ENAMETOOLONG, "", "a" * 5000))
    assert "…" in told
    assert len(told) < 400
