"""A package: a folder with a network and all that is needed to use it elsewhere."""

import logging
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from string import Template

import brainseg
from brainseg.content.package import Manifest
from brainseg.environment import hide_home
from brainseg.errors import InputError
from brainseg.files import building, hash_file, write_json, write_text
from brainseg.predict.bundle import bundle
from brainseg.predict.packaged import MANIFEST, SUMS
from brainseg.predict.page_files import copy_page
from brainseg.predict.segment import keeps_aspect
from brainseg.predict.settings import Settings
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Unavailable
from brainseg.vocabulary import PLANES, RESEARCH_ONLY

LICENCES = ("LICENSE", "NOTICE")

OPTIONAL = ("h5py", "nibabel", "pydicom")
"""Packages that `predict.py` needs for some kinds of files only."""

HERE = Path(__file__).parent

logger = logging.getLogger(__name__)


def write_package(run: Run, mode: str, out: Path, card: str) -> Manifest:
    """Write the package of a run's network; the folder appears once all of it is there.

    The same network gives the same bytes, whenever and wherever it is packaged. Where
    onnxruntime-web is not there, it has no page, which is told.

    Args:
        run: that was exported in `mode`.
        mode: one of `vocabulary.MODES`.
        out: a new or empty folder.
        card: text of the model card of that mode.

    Returns:
        Its manifest.

    Raises:
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
        threshold=Settings.threshold,
        best_threshold=_best_threshold(run, mode, hash_file(model)),
        plane=usual_plane(run),
        keep_aspect=keeps_aspect(session),
        brainseg=brainseg.__version__,
        notice=RESEARCH_ONLY,
    )
    with building(out) as made:
        shutil.copyfile(model, made / manifest["model"])
        write_json(made / MANIFEST, manifest)
        page = _add_page(made)
        for file, text in _texts(manifest, card, page).items():
            write_text(made / file, text)
        write_text(made / SUMS, _list_sums(made))
        own = (made / SUMS).read_text()
    if (out / SUMS).read_text() != own:
        raise InputError(f"{out} was made by another process meanwhile. Choose another folder.")
    return manifest


def usual_plane(run: Run) -> str:
    """The plane across which the volumes of a run's data were cut; axial where it is unknown."""
    planes = run.read_config()["data"].get("planes") if run.config.exists() else None
    first = planes[0] if isinstance(planes, list) and planes else planes
    return first if first in PLANES else Settings.plane


def _best_threshold(run: Run, mode: str, network: str) -> float | None:
    """The threshold with the best score on validation, if it was measured of this network."""
    file = run.validation(mode)
    known = run.read(file) if file.exists() else {}
    measured = known.get("network") == network and "none" in known["tta"]
    return known["tta"]["none"]["best"]["threshold"] if measured else None


def _add_page(made: Path) -> bool:
    """Copy the page, if that can be; returns whether it could."""
    try:
        copy_page(made)
    except Unavailable as error:
        logger.warning("The package gets no page for browsers. %s Then package again.", error)
        return False
    return True


def _texts(manifest: Manifest, card: str, page: bool) -> Mapping[str, str]:
    """The files of a package that are text, by name."""
    readme = Template((HERE / "package_readme.md").read_text(encoding="utf-8"))
    browser = (HERE / "package_readme_page.md").read_text(encoding="utf-8") if page else ""
    front = hide_home(card).partition("\n---\n")[0] + "\n---\n"  # a hub reads it there
    words = {"size": manifest["image_size"], "browser": browser, **manifest}
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
    return "".join(f"{hash_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
