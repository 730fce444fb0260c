"""A package that somebody uses: its network, and whether each file is as it was written."""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import brainseg
from brainseg.content.package import FORMAT, Manifest
from brainseg.errors import DamagedFile, InputError
from brainseg.files import hash_file

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"

WHOLE_AGAIN = "Copy or download the package again, or make it with `brainseg package`."


def is_package(folder: Path) -> bool:
    """Whether a folder is a package, whole or not."""
    return (folder / MANIFEST).is_file() and (folder / SUMS).is_file()


def model_of(folder: Path) -> Path | None:
    """The network's file in a package; `None` where a folder is no package.

    Raises:
        InputError: the package is of a newer brainseg.
        DamagedFile: its manifest or its network is not what was written.
    """
    if not is_package(folder):
        return None
    manifest = read_manifest(folder)
    model = folder / manifest["model"]
    if not model.is_file() or hash_file(model) != manifest["model_sha256"]:
        raise DamagedFile(model, "it is not the file that was packaged", WHOLE_AGAIN)
    return model


def read_manifest(folder: Path) -> Manifest:
    """What a package says of its network.

    Raises:
        InputError: the package is of a newer brainseg.
        DamagedFile: it is no manifest of a package.
    """
    file = folder / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
        written = json.loads(text).get("format")
        if isinstance(written, int) and written > FORMAT:
            raise InputError(
                f"{folder} is a package of format {written}, of a newer brainseg than this one "
                f"({brainseg.__version__}, which reads {FORMAT}). Install a newer brainseg."
            )
        return TypeAdapter(Manifest).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedFile(file, f"{place}: {first['msg']}", WHOLE_AGAIN) from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DamagedFile(file, f"no manifest of a package ({error})", WHOLE_AGAIN) from error


def check_sums(folder: Path) -> list[Path]:
    """The files that a package lists, relative to it, each as it was written, and the list itself.

    Raises:
        InputError: the list is missing, or names what lies outside of the package.
        DamagedFile: a file has changed or is missing.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise InputError(f"{folder} has no {SUMS}: it is no package. Make one: `brainseg package`.")
    try:
        listed = [line.partition("  ") for line in sums.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise DamagedFile(sums, "it is not UTF-8", WHOLE_AGAIN) from error
    files = [Path(name) for _, _, name in listed]
    for (expected, _, name), file in zip(listed, files, strict=True):
        if not name or file.is_absolute() or ".." in file.parts:
            raise DamagedFile(sums, f"it lists {name or 'no name'}", WHOLE_AGAIN)
        if not (folder / file).is_file() or hash_file(folder / file) != expected:
            raise DamagedFile(folder / file, "it is not the file that was packaged", WHOLE_AGAIN)
    return [*files, Path(SUMS)]
