"""The KV bindings in a checkout's wrangler.toml, wrangler.json and wrangler.jsonc. Pure: no Django.

Only the names of bindings are taken out of a file, never the values of its variables.
"""

import json
import re
import tomllib
from collections.abc import Iterable

_NAMES = frozenset({"wrangler.toml", "wrangler.json", "wrangler.jsonc"})
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def kv_bindings(sources: Iterable[tuple[str, str]]) -> list[str]:
    """The names under which the wrangler files bind KV namespaces. A file that cannot be read has none."""
    found: set[str] = set()
    for file, text in sources:
        if file.rpartition("/")[2] in _NAMES:
            try:
                found |= _bindings(tomllib.loads(text) if file.endswith(".toml") else json.loads(_plain_json(text)))
            except (ValueError, RecursionError):
                continue
    return sorted(found)


def _plain_json(text: str) -> str:
    """JSON without comments and trailing commas."""
    text = _COMMENT.sub(lambda found: found.group(1) or " ", text)
    return _TRAILING.sub(lambda found: found.group(1) or "", text)


def _bindings(top: object) -> set[str]:
    """The bindings at the top of a file and in its environments."""
    named = top.get("env") if isinstance(top, dict) else None
    environments = [top, *(named.values() if isinstance(named, dict) else ())]
    tables = [one.get("kv_namespaces") for one in environments if isinstance(one, dict)]
    rows = [row for table in tables if isinstance(table, list) for row in table if isinstance(row, dict)]
    return {row["binding"] for row in rows if isinstance(row.get("binding"), str)}
