"""The files of a data set."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from brainseg.data.case import OnProblem, Problem, name_some
from brainseg.files import printable


def find_files(root: Path, on_problem: OnProblem | None = None) -> list[Path]:
    """All files below `root`, sorted by path; links to folders are followed.

    Hidden files and folders are ignored: they belong to editors or file systems. What cannot be
    opened (a link that leads nowhere, a pipe, a folder without permission) is left out, and told
    to `on_problem`, not as fatal.
    """
    files, left_out = list_files(root)
    for what, paths in left_out.items():
        if on_problem is not None:
            message = f"Left out, {len(paths)} × {what}: {name_some(map(printable, paths))}."
            on_problem(Problem("layout", printable(paths[0]), message, fatal=False))
    return files


def list_files(root: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """As `find_files`; and what is left out, by the reason."""
    files, seen = [], set()
    left_out: dict[str, list[Path]] = defaultdict(list)

    def deny(error: OSError) -> None:
        left_out["folder that cannot be read"].append(Path(error.filename))

    for folder, folders, names in os.walk(root, onerror=deny, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if obstacle := _find_obstacle(path):
                left_out[obstacle].append(path)
            else:
                files.append(path)
    return sorted(files), left_out


def find_folder(root: Path, names: Sequence[str]) -> Path:
    """The first of the folders `names` (in small letters) in `root`, whatever the case there.

    The exact one comes first; where there is none, it is the first name in `root`.
    """
    inside = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    found = (path for name in names for path in inside if path.name.lower() == name)
    exact = root / names[0]
    return exact if exact in inside else next(found, exact)


def _find_obstacle(path: Path) -> str | None:
    """Why a file cannot be opened or named, or might never answer."""
    try:
        str(path).encode()
        path.stat()
    except UnicodeEncodeError:
        return "name that is not UTF-8"
    except OSError:
        return "link that leads nowhere" if path.is_symlink() else "file that cannot be found"
    if not path.is_file():
        return "pipe, socket or device"
    return None if os.access(path, os.R_OK) else "file that may not be read"
