"""The bindings in a checkout's wrangler.toml, wrangler.json and wrangler.jsonc. Pure: no Django.

Only names and ids are taken out of a file, never the values of its variables. A file whose names or ids cannot be
names or ids is one that cannot be read.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,99}")
"""The name of a binding."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""An id, the name of a bucket, or the name of an environment."""

_NAMES = frozenset({"wrangler.toml", "wrangler.json", "wrangler.jsonc"})
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


@dataclass(frozen=True)
class WranglerEnvironment:
    """One environment of a wrangler file; the name is empty at the top of the file. Ids by binding."""

    file: str
    name: str
    kv: Mapping[str, str]
    d1: Mapping[str, str]
    r2: Mapping[str, str]


def wrangler_environments(
    sources: Iterable[tuple[str, str]],
) -> tuple[list[WranglerEnvironment], list[str]]:
    """The environments of all wrangler files, and the files that cannot be read: their bindings are not known."""
    found: list[WranglerEnvironment] = []
    unread: list[str] = []
    for file, text in sources:
        if file.rpartition("/")[2] not in _NAMES:
            continue
        try:
            top = tomllib.loads(text) if file.endswith(".toml") else json.loads(_plain_json(text))
            found += _environments(file, top)
        except (ValueError, RecursionError):
            unread.append(file)
    return [one for one in found if one.kv or one.d1 or one.r2], unread


def _plain_json(text: str) -> str:
    """JSON without comments and trailing commas."""
    text = _COMMENT.sub(lambda found: found.group(1) or " ", text)
    return _TRAILING.sub(lambda found: found.group(1) or "", text)


def _environments(file: str, top: object) -> list[WranglerEnvironment]:
    """The environments of one file. Raises ValueError if it is not of the shape of a wrangler file."""
    named = top.get("env", {}) if isinstance(top, dict) else None
    if not isinstance(top, dict) or not isinstance(named, dict) or not all(map(ID.fullmatch, named)):
        raise ValueError(file)
    tables = {"": top, **named}
    return [_environment(file, name, table) for name, table in tables.items() if isinstance(table, dict)]


def _environment(file: str, name: str, table: Mapping[str, Any]) -> WranglerEnvironment:
    return WranglerEnvironment(
        file,
        name,
        kv=_ids(table.get("kv_namespaces"), "id"),
        d1=_ids(table.get("d1_databases"), "database_id"),
        r2=_ids(table.get("r2_buckets"), "bucket_name"),
    )


def _ids(tables: object, field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict) and isinstance(table.get("binding"), str):
            name, identifier = table["binding"], table.get(field)
            identifier = identifier if isinstance(identifier, str) else ""
            if not NAME.fullmatch(name) or (identifier and not ID.fullmatch(identifier)):
                raise ValueError(name)
            found[name] = identifier
    return found
