"""The files of a data set: what cannot be opened is told, and nothing is waited for."""

import os
from pathlib import Path

from brainseg.data.case import Problem
from brainseg.data.layouts.walk import find_files, find_folder


def test_what_cannot_be_opened_is_left_out_and_named(tmp_path: Path):
    (tmp_path / "a.png").touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    noted: list[Problem] = []
    assert find_files(tmp_path, noted.append) == [tmp_path / "a.png"]
    links, pipe = sorted(noted, key=lambda problem: problem.path)
    assert links.message.startswith("Left out, 2 × link that leads nowhere: ")
    assert "gone.png" in links.message
    assert "loop.png" in links.message
    assert pipe.message == f"Left out, 1 × pipe, socket or device: {tmp_path}/pipe.png."
    assert not links.fatal


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def deny(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)  # root may read every folder
    noted: list[Problem] = []
    assert find_files(tmp_path, noted.append) == []
    assert [problem.path for problem in noted] == [str(closed)]


def test_folders_are_found_whatever_their_case(tmp_path: Path):
    assert find_folder(tmp_path, ["masks", "labels"]) == tmp_path / "masks"
    (tmp_path / "Labels").mkdir()
    assert find_folder(tmp_path, ["masks", "labels"]) == tmp_path / "Labels"
    (tmp_path / "Masks").mkdir()
    (tmp_path / "MASKS.txt").touch()
    assert find_folder(tmp_path, ["masks", "labels"]) == tmp_path / "Masks"
    (tmp_path / "masks").mkdir(exist_ok=True)
    assert find_folder(tmp_path, ["masks", "labels"]) == tmp_path / "masks"
    assert find_folder(tmp_path / "none", ["masks"]) == tmp_path / "none" / "masks"
