"""A module of brainseg, taken apart: what it imports, what it defines, and the text of each."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "brainseg"


@dataclass
class Module:
    """A module.

    Attributes:
        name: such as `brainseg.data.intensity`.
        lines: of its source.
        docstring: of the module, as it is written.
        local: name → module of brainseg that it is imported from.
        foreign: name → where it is imported from elsewhere: `(module, name)`; without a name, the
            module itself is imported.
        definitions: name → what defines it: a statement, and a docstring after it.
        effects: statements that define nothing.
    """

    name: str
    lines: list[str]
    docstring: str
    local: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, tuple[str, str]] = field(default_factory=dict)
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)

    @property
    def is_program(self) -> bool:
        """Whether it does something when it is run as a file."""
        return any("__name__" in names_in([each]) for each in self.effects)

    def text(self, statements: Iterable[ast.stmt], new: Mapping[str, str]) -> str:
        """The source of some statements, with other names for those in `new`."""
        parts = [self._text_of(statement) for statement in statements]
        renamed = "\n".join(parts)
        for old, name in new.items():  # neither attributes nor keywords
            renamed = re.sub(rf"(?<![.\w]){old}\b(?!=[^=])", name, renamed)
        return renamed

    def _text_of(self, statement: ast.stmt) -> str:
        decorators = getattr(statement, "decorator_list", [])
        first = min(each.lineno for each in [statement, *decorators]) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(self.lines[first : statement.end_lineno])


@cache
def read_module(name: str) -> Module:
    """Take a module apart.

    Raises:
        ValueError: it imports something of brainseg as another name, or a whole module.
    """
    spec = find_spec(name)
    assert spec
    assert spec.origin
    source = Path(spec.origin).read_text(encoding="utf-8")
    head, *body = ast.parse(source).body
    module = Module(name, source.splitlines(), ast.get_source_segment(source, head) or "")
    last: list[ast.stmt] = []
    for statement in _flatten(body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            _note_import(module, statement)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            last.append(statement)  # it documents the definition above
        elif names := list(_defined(statement)):
            last = [statement]
            module.definitions |= dict.fromkeys(names, last)
        else:
            module.effects.append(statement)
    return module


def names_in(statements: Iterable[ast.stmt]) -> list[str]:
    """Every name that some statements use or assign, sorted."""
    nodes = (node for statement in statements for node in ast.walk(statement))
    return sorted({node.id for node in nodes if isinstance(node, ast.Name)})


def _flatten(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements; imports that only type checkers see are imports too."""
    for statement in body:
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from statement.body
            case _:
                yield statement


def _note_import(module: Module, statement: ast.Import | ast.ImportFrom) -> None:
    for alias in statement.names:
        name = alias.asname or alias.name
        if isinstance(statement, ast.Import):
            module.foreign[name] = (f"{alias.name} as {name}" if alias.asname else name, "")
        elif str(statement.module).partition(".")[0] != PACKAGE:
            module.foreign[name] = (str(statement.module), alias.name)
        else:
            if alias.asname:
                raise ValueError(f"{module.name} imports {alias.name} as {name}")
            module.local[name] = str(statement.module)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
