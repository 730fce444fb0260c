"""A package: a folder with a network and all that is needed to use it elsewhere."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

from pydantic import TypeAdapter, ValidationError

import brainseg
from brainseg.content.package import FORMAT, Manifest
from brainseg.environment import hide_home
from brainseg.errors import DamagedFile, InputError
from brainseg.files import building, hash_file, write_json, write_text
from brainseg.predict.bundle import bundle
from brainseg.predict.page_files import copy_page
from brainseg.predict.segment import keeps_aspect
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.vocabulary import RESEARCH_ONLY

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"

LICENCES = ("LICENSE", "NOTICE")

OPTIONAL = ("h5py", "nibabel", "pydicom")
"""Packages that `predict.py` needs for some kinds of files only."""

THRESHOLD = 0.5

PLANES = ("axial", "coronal", "sagittal")

WHOLE_AGAIN = "Copy or download the package again, or make it with `brainseg package`."

HERE = Path(__file__).parent


def write_package(run: Run, mode: str, out: Path, card: str) -> Manifest:
    """Write the package of a run's network; the folder appears once all of it is there.

    The same network gives the same bytes, whenever and wherever it is packaged.

    Args:
        run: that was exported in `mode`.
        mode: one of `vocabulary.MODES`.
        out: a new or empty folder.
        card: text of its model card.

    Returns:
        Its manifest.

    Raises:
        Unavailable: onnxruntime-web, which the page needs, is not there.
        InputError: `out` exists, the model cannot be opened, or the disk is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists already, and is not overwritten. Choose a new folder with --out, or "
            "remove this one."
        )
    model = run.onnx(mode)
    session = open_session(model)
    manifest = Manifest(
        format=1,
        name=run.name,
        mode=mode,
        model=f"model.{mode}.onnx",
        model_sha256=hash_file(model),
        image_size=session.image_size,
        threshold=THRESHOLD,
        best_threshold=_best_threshold(run, mode, hash_file(model)),
        plane=usual_plane(run),
        keep_aspect=keeps_aspect(session),
        brainseg=brainseg.__version__,
        notice=RESEARCH_ONLY,
    )
    with building(out) as made:
        shutil.copyfile(model, made / manifest["model"])
        write_json(made / MANIFEST, manifest)
        for file, text in _texts(manifest, card).items():
            write_text(made / file, text)
        copy_page(made)
        write_text(made / SUMS, _list_sums(made))
        own = (made / SUMS).read_text()
    if (out / SUMS).read_text() != own:
        raise InputError(f"{out} was made by another process meanwhile. Choose another folder.")
    return manifest


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
    listed = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines()]
    files = [Path(name) for _, _, name in listed]
    for (expected, _, name), file in zip(listed, files, strict=True):
        if not name or file.is_absolute() or ".." in file.parts:
            raise DamagedFile(sums, f"it lists {name or 'no name'}", WHOLE_AGAIN)
        if not (folder / file).is_file() or hash_file(folder / file) != expected:
            raise DamagedFile(folder / file, "it is not the file that was packaged", WHOLE_AGAIN)
    return [*files, Path(SUMS)]


def usual_plane(run: Run) -> Any:
    """The plane across which the volumes of a run's data were cut; axial where it is unknown."""
    planes = run.read_config()["data"].get("planes") if run.config.exists() else None
    first = planes[0] if isinstance(planes, list) and planes else planes
    return first if first in PLANES else PLANES[0]


def _best_threshold(run: Run, mode: str, network: str) -> float | None:
    """The threshold with the best score on validation, if it was measured of this network."""
    file = run.validation(mode)
    known = run.read(file) if file.exists() else {}
    measured = known.get("network") == network and "none" in known["tta"]
    return known["tta"]["none"]["best"]["threshold"] if measured else None


def _texts(manifest: Manifest, card: str) -> Mapping[str, str]:
    """The files of a package that are text, by name."""
    readme = Template((HERE / "package_readme.md").read_text(encoding="utf-8"))
    front = hide_home(card).partition("\n---\n")[0] + "\n---\n"  # a hub reads it there
    words = {"size": manifest["image_size"], **manifest}
    return {
        "card.md": hide_home(card),
        "README.md": f"{front}\n{readme.substitute(words)}",
        "predict.py": bundle("brainseg.predict.standalone", OPTIONAL),
        "requirements.txt": (HERE / "requirements.txt").read_text(encoding="utf-8"),
        **{licence: _read_licence(licence) for licence in LICENCES},
    }


def _read_licence(name: str) -> str:
    """A file of the project, in its sources or as it was installed."""
    source = HERE.parents[1] / name
    if (source.parent / "pyproject.toml").is_file():
        return source.read_text(encoding="utf-8")
    return metadata.distribution("brainseg-bench").read_text(f"licenses/{name}") or ""


def _list_sums(folder: Path) -> str:
    """The lines that `sha256sum -c` takes, of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = ((hashlib.sha256(path.read_bytes()).hexdigest(), path) for path in files)
    return "".join(f"{found}  {path.relative_to(folder).as_posix()}\n" for found, path in sums)
