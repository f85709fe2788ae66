"""The bindings in a checkout's wrangler.toml, wrangler.json and wrangler.jsonc. Pure: no Django.

Only names and ids are taken out of a file, never the values of its variables. A file whose names or ids cannot be
names or ids is one that cannot be read.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvops.refusals import Sentence as _

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

    @property
    def title(self) -> str:
        """The environment for people."""
        return f"{self.file} [env.{self.name}]" if self.name else self.file

    def bindings(self) -> list[tuple[str, str, str]]:
        """Every binding: its kind, its name and its id, which is empty if the file has none."""
        kinds = (("KV", self.kv), ("D1", self.d1), ("R2", self.r2))
        return [(kind, name, one) for kind, ids in kinds for name, one in sorted(ids.items())]


@dataclass(frozen=True)
class KnownEnvironment:
    """One environment of `environments.toml`: the ids by binding, and the bucket of its backups."""

    slug: str
    kv: Mapping[str, str]
    d1: Mapping[str, str]
    bucket: str = ""

    def is_of(self, one: WranglerEnvironment) -> bool:
        """Whether the wrangler environment deploys to this one: by a common id, or by its name."""
        ids = {*self.kv.values(), *self.d1.values()}
        return bool(ids & {*one.kv.values(), *one.d1.values()}) or self.slug == one.name


@dataclass(frozen=True)
class WranglerDifference:
    """A difference, and the environments of `environments.toml` that it is about; none if that cannot be told."""

    sentence: _
    environments: frozenset[str]


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


def differences(found: Sequence[WranglerEnvironment], known: Sequence[KnownEnvironment]) -> list[WranglerDifference]:
    """Where the wrangler files and `environments.toml` disagree."""
    told = [
        WranglerDifference(sentence, frozenset(env.slug for env in known if env.is_of(one)))
        for one in found
        for sentence in (
            *_compared(one.title, _("KV namespace"), one.kv, {env.slug: env.kv for env in known}),
            *_compared(one.title, _("D1 database"), one.d1, {env.slug: env.d1 for env in known}),
            *_of_backups(one, known),
        )
    ]
    bound = {identifier for one in found for identifier in one.kv.values()}
    for env in known:
        for binding, identifier in sorted(env.kv.items()):
            if identifier not in bound:
                sentence = _(
                    "%(place)s: no wrangler file binds the KV namespace %(id)s.",
                    place=f"{env.slug}/{binding}",
                    id=identifier,
                )
                told.append(WranglerDifference(sentence, frozenset([env.slug])))
    return told


def proposed(found: Sequence[WranglerEnvironment], known: KnownEnvironment) -> str:
    """The tables of `environments.toml` for the bindings of an environment that it does not have yet; may be empty."""
    lines: dict[str, None] = {}
    for one in found:
        if known.is_of(one):
            for kind, field, ids, mine in (
                ("kv", "namespace_id", one.kv, known.kv),
                ("d1", "database_id", one.d1, known.d1),
            ):
                for binding, identifier in sorted(ids.items()):
                    if identifier and identifier not in mine.values():
                        lines[f'[[environment.{kind}]]\nbinding = "{binding}"\n{field} = "{identifier}"\n'] = None
    return "\n".join(lines)


def _compared(title: str, kind: _, bound: Mapping[str, str], known: Mapping[str, Mapping[str, str]]) -> Iterator[_]:
    for binding, identifier in sorted(bound.items()):
        facts = {"title": title, "kind": kind, "id": identifier, "binding": binding}
        places = [(slug, name) for slug, ids in known.items() for name, other in ids.items() if other == identifier]
        if not identifier:
            yield _("%(title)s: %(binding)s has no id, so its %(kind)s is not known.", **facts)
        elif not places:
            yield _("%(title)s: the %(kind)s %(id)s under %(binding)s is in no environment.", **facts)
        for slug, name in places:
            if name != binding:
                yield _(
                    "%(title)s: the %(kind)s %(id)s is bound as %(binding)s, but %(slug)s calls it %(name)s.",
                    **facts,
                    slug=slug,
                    name=name,
                )


def _of_backups(one: WranglerEnvironment, known: Sequence[KnownEnvironment]) -> Iterator[_]:
    """A Worker that binds the bucket of the backups can delete them."""
    for binding, bucket in sorted(one.r2.items()):
        if bucket and any(env.bucket == bucket for env in known):
            yield _(
                "%(title)s: %(binding)s is the bucket %(bucket)s of the backups, so this code can change them.",
                title=one.title,
                binding=binding,
                bucket=bucket,
            )


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
