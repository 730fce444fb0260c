"""Atomic writes, the JSON and CSV of the project, and whether a file is what it was."""

import csv
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from brainseg.errors import InputError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How text begins that a spreadsheet computes, or that was guarded against that already."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; on success sync it and rename it over `target`.

    Readers see the old file or the new one, never a part. On any error the temporary file is
    removed and `target` stays as it was.

    Raises:
        InputError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        with telling_full_disk(target):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; others read runs too
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def telling_full_disk(target: Path) -> Iterator[None]:
    """Turn the system's error of a full disk into one that says what to do.

    Raises:
        InputError: the disk became full while `target` was written.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise InputError(
            f"The disk is full: {target} could not be written. Free some space and repeat the "
            "command; everything finished so far is kept."
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that of a full disk; torch raises its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; on success it gets `target`'s name.

    So a folder appears at once, with all of its files. Where another process was first, its folder
    is kept and this one goes.

    Raises:
        InputError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        telling_full_disk(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder,
    ):
        made = Path(folder) / target.name
        made.mkdir()
        yield made
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():
                raise


@contextmanager
def staging(target: Path, table: str) -> Iterator[Path]:
    """Yield an empty folder in `target`; on success its files replace those of their names.

    Until then, and on any error, `target` keeps what it had. What it has besides stays. Where the
    process is killed while files are put in place, there is no `table`.

    Args:
        target: a folder that is locked.
        table: the file that lists the others. The old one goes before, the new one comes last.

    Raises:
        InputError: the disk is full, or a folder has the name of one of the files.
    """
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(".new.*"):  # by a process that was killed
        shutil.rmtree(left)
    with (
        telling_full_disk(target),
        tempfile.TemporaryDirectory(dir=target, prefix=".new.") as folder,
    ):
        yield Path(folder)
        files = sorted(Path(folder).iterdir(), key=lambda file: (file.name == table, file.name))
        for place in (target / file.name for file in files):
            if place.is_dir():
                raise InputError(f"{place} is a folder; expected a file or nothing. Rename it.")
        (target / table).unlink(missing_ok=True)
        for file in files:
            file.replace(target / file.name)


GONE = ".removed"
"""How the name of a folder ends that is being deleted, or was when its process was stopped."""


def discard(folder: Path) -> None:
    """Delete a folder; it gets another, hidden name first, so that no half of it is left."""
    doomed = folder.with_name(f".{folder.name}{GONE}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def make_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap:
    """Make a memory-mapped `.npy` whose space is reserved.

    Without that, writing to the array on a full disk would kill the process.

    Raises:
        OSError: there is no space for it.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_file(source: Path) -> None:
    """Check that something can be read as a file, without waiting for a device or a pipe.

    Raises:
        InputError: it is missing, a link to nothing, no file, empty, or may not be read.
    """
    name = printable(source)
    try:
        found = source.stat()
    except FileNotFoundError as error:
        if source.is_symlink():
            raise InputError(
                f"{name} is a link to {printable(source.readlink())}, which does not exist. Fetch "
                "the file that it stands for, or remove it."
            ) from error
        raise InputError(f"{name} does not exist.") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{name} is no file. Remove it or leave it out.")
    if not found.st_size:
        raise InputError(f"{name} is empty. Replace the file or remove it.")
    if not os.access(source, os.R_OK):
        raise InputError(f"{name} may not be read. Change its permissions.")


def printable(path: Path) -> str:
    r"""A path as text that can be written anywhere: what is not UTF-8 in it becomes `\udc…`."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: what is undefined is `None`."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(source: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON in UTF-8.
    """
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not valid JSON ({error}). Restore or remove it.") from error


def write_csv(target: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write `rows` under a header of `columns`, atomically; `None` becomes an empty field.

    Text that a spreadsheet would compute gets an apostrophe, see `as_text`.
    """
    safe = [{key: as_text(value) for key, value in row.items()} for row in rows]
    # Before Python 3.13, csv does not see that a lone carriage return needs quotes.
    returns = any("\r" in str(value) for row in safe for value in row.values())
    quoting: Any = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(safe)


def read_csv(source: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header into a dictionary of strings per row, as they were written."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return [{key: without_apostrophe(value) for key, value in row.items()} for row in rows]


def as_text(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: `=1+1` becomes `'=1+1`.

    Names of patients and files may come from strangers
    (https://owasp.org/www-community/attacks/CSV_Injection). Numbers stay as they are.
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def without_apostrophe(value: Any) -> Any:
    """What `as_text` was given."""
    guarded = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if guarded else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_npz(target: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as a compressed `.npz`, atomically."""
    with replacing(target) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def hash_file(file: Path) -> str:
    """SHA-256 of a file; a file that has not changed since is not read again."""
    return _hash(file, file.stat().st_mtime_ns)


@cache
def _hash(file: Path, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def is_whole(archive: Path) -> bool:
    """Whether a zip, such as a checkpoint, has the checksums that were written into it."""
    return _is_whole(archive, archive.stat().st_mtime_ns)


@cache
def _is_whole(archive: Path, changed: int) -> bool:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.testzip() is None
    except Exception:  # reading arbitrary bytes as a zip raises whatever it meets
        return False
