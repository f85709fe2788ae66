"""The layout stays one that people find their way in: small folders, short files, unique names, no circles."""

import ast
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("audit", "backups", "kvops")
MODULES = 20
"""Modules in a folder: more than that is a corridor, not a room."""
LINES = 500
NAMED_BY_A_FRAMEWORK = {"Command", "Migration", "Meta", "AuditConfig", "BackupsConfig", "KvopsConfig"}


def files(*folders: str) -> list[Path]:
    """The Python files of the folders, migrations aside."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if "migrations" not in path.parts]


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of ours that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {name if (name := f"{node.module}.{one.name}") in known else node.module for one in node.names}
    return (found & set(known)) - {module(path)}


def circles(graph: Mapping[str, set[str]]) -> set[str]:
    """The modules that import each other: what is left when modules without imports left are taken away, in turn."""
    left = {name: set(targets) for name, targets in graph.items()}
    while done := {name for name, targets in left.items() if not targets}:
        left = {name: targets - done for name, targets in left.items() if name not in done}
    return {name for name in left if any(name in targets for targets in left.values())}


def test_no_folder_holds_more_than_twenty_modules() -> None:
    held = Counter(path.parent.relative_to(ROOT).as_posix() for path in files(*PRODUCT) if path.stem != "__init__")
    assert {folder: count for folder, count in held.items() if count > MODULES} == {}


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in files(*PRODUCT)}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}


@pytest.mark.parametrize("folders", [(*PRODUCT, "sandbox"), ("tests", "bench")], ids=["product", "tests"])
def test_no_class_name_is_defined_twice(folders: tuple[str, ...]) -> None:
    places = defaultdict(list)
    for path in files(*folders):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and node.name not in NAMED_BY_A_FRAMEWORK:
                places[node.name].append(module(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_modules_import_each_other() -> None:
    known = {module(path): path for path in files(*PRODUCT, "sandbox", "tests", "bench")}
    assert circles({name: imports(path, known) for name, path in known.items()}) == set()


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"b", "c"}
