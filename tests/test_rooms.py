"""The rooms' import arrows (SPEC section 3), read from the source with `ast`."""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "brainseg"
EVERYWHERE = {"errors", "files", "terminal"}
MAY_IMPORT = {
    "data": set(),
    "model": set(),
    "evaluation": set(),
    "deploy": {"data", "model", "evaluation", "run"},
    "training": {"data", "model", "evaluation", "run", "deploy"},
    "report": {"evaluation", "run"},
    "run": set(),
    "files": set(),
    "errors": set(),
    "terminal": set(),
}
ONLY_IN = {
    "timm": "model/encoder.py",
    "wandb": (
        "training/tracking.py",
        "training/mirror.py",
        "training/offline.py",
        "training/dashboard.py",
    ),
    "wandb_workspaces": "training/panels.py",
    "pytorch_lightning": "training/",
    "hydra": "training/config.py",
    "albumentations": "data/",
    "openvino": "deploy/openvino_session.py",
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(source: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever the statement stands."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(("brainseg", *source.relative_to(PACKAGE).parent.parts))
            relative = "." * node.level + (node.module or "")
            module = resolve_name(relative, package)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from . import session", "brainseg.runtime.session"),
        ("from .session import Session", "brainseg.runtime.session.Session"),
        ("from .. import report", "brainseg.report"),
        ("from ..report.rows import NOTHING", "brainseg.report.rows.NOTHING"),
        ("from brainseg.run import Run", "brainseg.run.Run"),
        ("import torch.nn", "torch.nn"),
    ],
)
def test_every_way_to_import_is_seen(monkeypatch, tmp_path: Path, statement: str, name: str):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "deploy").mkdir()
    source = tmp_path / "deploy" / "predict.py"
    source.write_text(statement)
    assert imported(source) == {name}


def room_of(source: Path) -> str:
    return source.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_the_right_way(source: Path):
    room = room_of(source)
    if room not in MAY_IMPORT:
        assert room in {"__init__", "__main__", "cli"}
        return
    rooms = {name.split(".")[1] for name in imported(source) if name.startswith("brainseg.")}
    allowed = MAY_IMPORT[room] | EVERYWHERE | {room, "__version__"}
    assert rooms <= allowed, f"{source} imports {rooms - allowed}"


@pytest.mark.parametrize(("package", "place"), ONLY_IN.items())
def test_package_is_imported_in_one_place(package: str, place: str | tuple[str, ...]):
    users = [
        str(source.relative_to(PACKAGE))
        for source in SOURCES
        if any(name.split(".")[0] == package for name in imported(source))
    ]
    assert users
    assert all(user.startswith(place) for user in users), users


def test_one_place_makes_inference_sessions():
    users = [source for source in SOURCES if "InferenceSession(" in source.read_text()]
    assert [str(user.relative_to(PACKAGE)) for user in users] == ["deploy/session.py"]


def test_no_room_without_a_subject():
    banned = {"utils", "util", "helpers", "common", "misc"}
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & banned
