"""One readable file from a module of brainseg and what it uses of the others.

Of each module only those definitions are taken that are reached. So the file has the very rules of
brainseg and needs no brainseg, and nothing is written twice.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from textwrap import indent, shorten

from brainseg.predict.source import Module, names_in, read_module

WIDTH, INDENT = 100, "    "
"""Columns of a line, and how far a block is moved."""


@dataclass
class _Reached:
    """What is reached: names of definitions by module, and imports from elsewhere."""

    names: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    imports: set[tuple[str, str]] = field(default_factory=set)

    def take(self, module: Module, name: str) -> None:
        """Take a definition, and all that it uses."""
        if name in module.local:
            home = read_module(module.local[name])
            if name not in {**home.local, **home.foreign, **home.definitions}:
                raise ValueError(f"{module.name} imports {name}, no definition of {home.name}")
            return self.take(home, name)
        if name in module.foreign:
            self.imports.add(module.foreign[name])
        elif name in module.definitions and name not in self.names[module.name]:
            self.names[module.name].add(name)
            for used in names_in([*module.definitions[name], *module.effects]):
                self.take(module, used)
        return None


def bundle(name: str, optional: Collection[str] = ()) -> str:
    """The source of a module with all that it uses of brainseg.

    What the module does itself comes first, so it must not need others before it is run.

    Args:
        name: of the module.
        optional: packages that may be missing where the file is run.
    """
    root, reached = read_module(name), _Reached()
    for each in root.definitions:
        reached.take(root, each)
    new = _new_names(reached)
    *others, own = (
        _render(read_module(each), reached.names[each], new) for each in _order(name, reached)
    )
    head = [root.docstring, "from __future__ import annotations"]
    blocks = "\n\n".join([*head, *_render_imports(reached.imports, optional)])
    run = [root.text([each], {}) for each in root.effects]
    return "\n\n\n".join([blocks, own, *others, *run]) + "\n"


def _order(name: str, reached: _Reached) -> list[str]:
    """Modules in an order in which each finds what it needs when it is run."""
    order: dict[str, None] = {}

    def visit(each: str) -> None:
        for other in sorted(set(read_module(each).local.values())):
            if other in reached.names:
                visit(other)
        order.setdefault(each)

    visit(name)
    return list(order)


def _new_names(reached: _Reached) -> dict[tuple[str, str], str]:
    """Other names for those that several modules define, by module and name."""
    counts = Counter(name for names in reached.names.values() for name in names)
    return {
        (module, name): _rename(name, module.rpartition(".")[2])
        for module, names in reached.names.items()
        for name in names
        if counts[name] > 1
    }


def _rename(name: str, stem: str) -> str:
    return f"{name}_OF_{stem.upper()}" if name.isupper() else f"{name}_of_{stem}"


def _render(module: Module, names: set[str], new: dict[tuple[str, str], str]) -> str:
    """A section of the file: what is taken of one module, in its order."""
    homes = dict.fromkeys(names, module.name) | module.local
    own = {name: new[home, name] for name, home in homes.items() if (home, name) in new}
    chosen = {id(each): each for name in names for each in [module.definitions[name]]}
    effects = [] if module.is_program else module.effects
    taken = sorted([*chosen.values(), *([each] for each in effects)], key=_line)
    path = module.name.replace(".", "/")
    summary = module.docstring.strip('"').partition("\n")[0]
    lines = [f"# ---- {path}.py", shorten(f"# {summary}", WIDTH, placeholder=" …")]
    text = "\n".join(lines)
    for before, after in pairwise([[], *taken]):
        text += ("\n\n\n" if _is_code(before, after) else "\n\n") + module.text(after, own)
    return text


def _line(statements: list[ast.stmt]) -> int:
    return statements[0].lineno


def _is_code(*groups: list[ast.stmt]) -> bool:
    return any(isinstance(each, ast.FunctionDef | ast.ClassDef) for each in chain(*groups))


MISSING = """\
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"Error: {missing.name} is not installed. Install what this program needs with\\n"
        "  python -m pip install -r requirements.txt"
    ) from None"""


def _render_imports(imports: Iterable[tuple[str, str]], optional: Collection[str]) -> Iterator[str]:
    """Blocks: of Python's own library, of packages, and of each one that may be missing.

    Where another package is missing, the program says how to install them and ends.
    """
    blocks: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for module, name in {*imports, *([("contextlib", "suppress")] if optional else [])}:
        package = re.split(r"\W", module)[0]
        kind = "" if package in sys.stdlib_module_names else "packages"
        blocks[f"{package} may be missing" if package in optional else kind].add((module, name))
    for kind in sorted(blocks, key=lambda kind: (kind not in ("", "packages"), kind)):
        text = "\n".join(_import_lines(blocks[kind]))
        if kind == "packages":
            text = f"try:\n{indent(text, INDENT)}\n{MISSING}"
        if kind not in ("", "packages"):
            text = f"with suppress(ImportError):  # {kind}\n{indent(text, INDENT)}"
        yield text


def _import_lines(block: set[tuple[str, str]]) -> Iterator[str]:
    yield from (f"import {module}" for module, name in sorted(block) if not name)
    names = defaultdict(list)
    for module, name in sorted(block, key=lambda each: each[0].lower()):
        if name:
            names[module].append(name)
    for module, found in names.items():
        in_order = sorted(found, key=lambda name: (not name.isupper(), name.islower(), name))
        line = f"from {module} import {', '.join(in_order)}"
        if len(line) > WIDTH - len(INDENT):
            names_of = "".join(f"{INDENT}{name},\n" for name in in_order)
            line = f"from {module} import (\n{names_of})"
        yield line
