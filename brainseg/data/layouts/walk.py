"""The files of a data set."""

import os
from pathlib import Path


def find_files(root: Path) -> list[Path]:
    """All files below `root`, sorted by path; links to folders are followed.

    Hidden files and folders are ignored: they belong to editors or file systems.
    """
    files, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(files)
