"""One file from several modules: it computes what they compute, and holds nothing else."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brainseg.predict import source
from brainseg.predict.bundle import bundle
from brainseg.predict.package import OPTIONAL

FILES = {
    "__init__": '"""A package."""\n',
    "program": '''"""Says a number.

More of it.
"""

import sys

from toy.rules import double, limit

FIRST = 3
"""Of all."""


def main() -> int:
    """Run."""
    return limit(double(FIRST) + len(sys.argv[:0]))


if __name__ == "__main__":
    print(main())
''',
    "rules": '''"""Rules."""

import math as maths
from dataclasses import dataclass

import missing_package
from toy.deeper import _scale

LIMIT = 100
_seen: list[int] = []
_seen.append(1)


@dataclass
class Never:
    """Nobody uses it."""

    fractions: "missing_package.Kind"


# How much it is.
@dataclass
class Amount:
    """A number."""

    value: int


def double(value: int) -> int:
    """Twice."""
    return _scale(Amount(value).value) * maths.floor(LIMIT / 50)


def limit(value: int) -> int:
    """At most LIMIT."""
    return min(value, LIMIT) + len(_seen) + 0 * len(missing_package.__name__ if not LIMIT else "")


def unused() -> None:
    """Nobody calls it."""
''',
    "deeper": '''"""Deeper rules."""

LIMIT = 7


def _scale(value: int, LIMIT_too: int = 0) -> int:
    return value * LIMIT
''',
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of three modules, one of which needs a package that is missing."""
    (tmp_path / "toy").mkdir()
    for name, text in FILES.items():
        (tmp_path / "toy" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "PACKAGE", "toy")
    source.read_module.cache_clear()
    yield tmp_path / "toy"
    source.read_module.cache_clear()
    for name in [name for name in sys.modules if name.startswith("toy")]:
        del sys.modules[name]


def executed(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "bundled"}
    sys.modules["bundled"] = type(sys)("bundled")  # where dataclasses look their module up
    exec(compile(text, "bundled.py", "exec"), names)
    return names


def test_it_computes_the_same_without_the_package(toy: Path) -> None:
    text = bundle("toy.program", ("missing_package",))
    assert executed(text)["main"]() == min(3 * 7 * 2, 100) + 1
    assert "from toy" not in text
    assert "class Never" not in text
    assert "def unused" not in text
    assert "# How much it is.\n@dataclass\nclass Amount" in text
    assert text.startswith('"""Says a number.\n\nMore of it.\n"""\n')
    assert text.index("def main") < text.index("def double")
    assert text.rstrip().endswith("print(main())")


def test_names_that_two_modules_have_stay_apart(toy: Path) -> None:
    names = executed(bundle("toy.program", ("missing_package",)))
    assert (names["LIMIT_OF_RULES"], names["LIMIT_OF_DEEPER"]) == (100, 7)
    assert names["double"](1) == 14


def test_a_package_that_is_not_optional_is_required(toy: Path) -> None:
    told = r"missing_package is not installed. .*\n  python -m pip install -r requirements\.txt"
    with pytest.raises(SystemExit, match=told):
        executed(bundle("toy.program"))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("from toy.deeper import _scale as other", "as other"),
        ("from toy import deeper", "imports deeper"),
    ],
)
def test_imports_that_cannot_be_followed_are_refused(toy: Path, statement: str, told: str) -> None:
    rules = (toy / "rules.py").read_text()
    changed = rules.replace("from toy.deeper import _scale", statement)
    (toy / "rules.py").write_text(changed.replace("_scale(", f"{statement.split()[-1]}("))
    with pytest.raises(ValueError, match=told):
        bundle("toy.program")


def test_the_program_of_a_package_is_clean_and_always_the_same(tmp_path: Path) -> None:
    text = bundle("brainseg.predict.standalone", OPTIONAL)
    source.read_module.cache_clear()
    assert bundle("brainseg.predict.standalone", OPTIONAL) == text
    file = tmp_path / "predict.py"
    file.write_text(text)
    config = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "ruff", "check", "--config", str(config), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert {name for name in _imported(text) if name not in sys.stdlib_module_names} == {
        *("numpy", "onnxruntime", "PIL")
    }


def _imported(text: str) -> set[str]:
    """The packages without which a program does not start."""
    names: set[str] = set()
    body = ast.parse(text).body
    tried = [each for node in body if isinstance(node, ast.Try) for each in node.body]
    for node in [*body, *tried]:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return {name.partition(".")[0] for name in names}
