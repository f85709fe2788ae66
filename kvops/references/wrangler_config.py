"""The bindings in a checkout's wrangler.toml, wrangler.json and wrangler.jsonc. Pure: no Django."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

    @property
    def title(self) -> str:
        """The environment for people."""
        return f"{self.file} [env.{self.name}]" if self.name else self.file


@dataclass(frozen=True)
class KnownEnvironment:
    """One environment of `environments.toml`: the ids by binding."""

    slug: str
    kv: Mapping[str, str]
    d1: Mapping[str, str]
    bucket: str = ""


def wrangler_environments(
    sources: Iterable[tuple[str, str]],
) -> tuple[list[WranglerEnvironment], list[str]]:
    """The environments of all wrangler files, and a sentence for each file that cannot be read."""
    found: list[WranglerEnvironment] = []
    wrong: list[str] = []
    for file, text in sources:
        if file.rpartition("/")[2] not in _NAMES:
            continue
        try:
            top = tomllib.loads(text) if file.endswith(".toml") else json.loads(_plain_json(text))
        except (ValueError, RecursionError):
            wrong.append(f"{file} cannot be read, so its bindings are not known.")
            continue
        if isinstance(top, dict):
            found.append(_environment(file, "", top))
            environments = top.get("env")
            for name, table in environments.items() if isinstance(environments, dict) else ():
                if isinstance(table, dict):
                    found.append(_environment(file, str(name), table))
    return [one for one in found if one.kv or one.d1 or one.r2], wrong


def differences(found: Sequence[WranglerEnvironment], known: Sequence[KnownEnvironment]) -> list[str]:
    """Where the wrangler files and `environments.toml` disagree, a sentence each."""
    told: list[str] = []
    for one in found:
        told += _compared(one.title, "KV namespace", one.kv, {env.slug: env.kv for env in known})
        told += _compared(one.title, "D1 database", one.d1, {env.slug: env.d1 for env in known})
    bound = {identifier for one in found for identifier in one.kv.values()}
    for env in known:
        for binding, identifier in sorted(env.kv.items()):
            if identifier not in bound:
                told.append(f"{env.slug}/{binding}: no wrangler file binds the KV namespace {identifier}.")
    return told


def _compared(title: str, kind: str, bound: Mapping[str, str], known: Mapping[str, Mapping[str, str]]) -> list[str]:
    told: list[str] = []
    for binding, identifier in sorted(bound.items()):
        places = [(slug, name) for slug, ids in known.items() for name, other in ids.items() if other == identifier]
        if not identifier:
            told.append(f"{title}: {binding} has no id, so its {kind} is not known.")
        elif not places:
            told.append(f"{title}: the {kind} {identifier} under {binding} is in no environment.")
        told += [
            f"{title}: the {kind} {identifier} is bound as {binding}, but {slug} calls it {name}."
            for slug, name in places
            if name != binding
        ]
    return told


def _plain_json(text: str) -> str:
    """JSON without comments and trailing commas."""
    text = _COMMENT.sub(lambda found: found.group(1) or " ", text)
    return _TRAILING.sub(lambda found: found.group(1) or "", text)


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
            identifier = table.get(field)
            found[table["binding"]] = identifier if isinstance(identifier, str) else ""
    return found
