"""The rooms' import arrows (SPEC section 3), read from the source with `ast`."""

import ast
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "brainseg"
GROUND = (
    *("vocabulary", "errors", "interrupt", "terminal", "files", "arrays", "environment", "outline"),
    *("policy", "lock", "row", "content", "run", "experiment", "rows"),
)
"""What every room may import; one of them only those before it."""

MAY_IMPORT = {
    "data": (),
    "model": (),
    "evaluation": (),
    "runtime": (),
    "scoring": ("data", "model", "evaluation", "runtime"),
    "predict": ("data", "runtime"),
    "benchmark": ("data", "runtime", "scoring", "predict"),
    "deploy": ("data", "model", "evaluation", "runtime", "scoring", "benchmark"),
    "tracking": ("evaluation",),
    "training": ("data", "model", "evaluation", "deploy", "benchmark", "tracking"),
    "report": ("evaluation",),
    "runs": (),
}
ANYTHING = ("__init__", "__main__", "cli")

ONLY_IN = {
    "timm": "model/encoder.py",
    "segmentation_models_pytorch": "model/",
    "wandb": "tracking/",
    "wandb_workspaces": "tracking/panels.py",
    "pytorch_lightning": "training/",
    "hydra": "training/",
    "albumentations": "data/",
    "openvino": "runtime/openvino.py",
    "ai_edge_litert": "runtime/litert.py",
    "litert_torch": "deploy/to_litert.py",
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
    (tmp_path / "runtime").mkdir()
    source = tmp_path / "runtime" / "open.py"
    source.write_text(statement)
    assert imported(source) == {name}


def room_of(source: Path) -> str:
    return source.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_of(source: Path) -> set[str]:
    """The rooms that a file imports from."""
    return {name.split(".")[1] for name in imported(source) if name.startswith("brainseg.")}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_the_right_way(source: Path):
    room = room_of(source)
    if room in ANYTHING:
        return
    assert room in GROUND or room in MAY_IMPORT, f"{room} is no room of SPEC section 3"
    ground = GROUND[: GROUND.index(room)] if room in GROUND else GROUND
    allowed = {*ground, *MAY_IMPORT.get(room, ()), room, "__version__"}
    assert rooms_of(source) <= allowed, f"{source} imports {rooms_of(source) - allowed}"


def test_no_arrow_is_only_wished_for():
    found = {room: set[str]() for room in MAY_IMPORT}
    for source in SOURCES:
        if room_of(source) in found:
            found[room_of(source)] |= rooms_of(source)
    unused = {room: set(arrows) - found[room] for room, arrows in MAY_IMPORT.items()}
    assert not any(unused.values()), unused


def test_no_circle_of_files():
    """A file that imports another at its top is not imported back at that one's top."""
    files = {
        ".".join(("brainseg", *source.relative_to(PACKAGE).with_suffix("").parts)): source
        for source in SOURCES
    }
    graph = {
        # `from file import name` and `from room import file`
        name: {each for found in imported(source) for each in (found, found.rpartition(".")[0])}
        & (files.keys() - {name})
        for name, source in files.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize(("package", "place"), ONLY_IN.items())
def test_package_is_imported_in_one_place(package: str, place: str):
    users = [
        str(source.relative_to(PACKAGE))
        for source in SOURCES
        if any(name.split(".")[0] == package for name in imported(source))
    ]
    assert users
    assert all(user.startswith(place) for user in users), users


def test_one_place_makes_inference_sessions():
    users = [source for source in SOURCES if "InferenceSession(" in source.read_text()]
    assert [str(user.relative_to(PACKAGE)) for user in users] == ["runtime/onnxruntime.py"]


def test_no_room_without_a_subject():
    banned = {"utils", "util", "helpers", "common", "misc"}
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & banned
