r"""Paths of members inside a JSON value, as the policy writes them. Pure: no Django, no network.

    name                  the member `name`
    address.city          the member `city` of the object `address`
    "postal.code".main    the member `main` of the object `postal.code`

Inside quotes, \" is a quote and \\ is a backslash.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from backups.datasets.canonical import JSON
from kvops.refusals import Sentence as _

type Path = tuple[str, ...]
type Tree = dict[str, Tree | str | None]
"""Members by name: a path to compare, None for an ignored member, or the members inside."""

_MEMBER = re.compile(r'"((?:[^"\\]|\\["\\])+)"|([^".]+)')
_PLAIN = re.compile(r'[^".]+')


class BadPath(ValueError):
    """A path that cannot be read; the message says why."""


def parse(text: str) -> Path:
    """The members of a path. Raises BadPath."""
    found: list[str] = []
    at = 0
    while True:
        member = _MEMBER.match(text, at)
        if member is None:
            raise BadPath(
                _(
                    "%(text)s is no path: write members with dots between them, and one with a dot in quotes",
                    text=repr(text),
                )
            )
        quoted, plain = member.groups()
        found.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
        at = member.end()
        if at == len(text):
            return tuple(found)
        if text[at] != ".":
            raise BadPath(_("%(text)s is no path: a dot is missing after a quoted member", text=repr(text)))
        at += 1


def spelled(path: Iterable[str]) -> str:
    """The text of a path; a member that is not plain stands in quotes."""
    return ".".join(member if _PLAIN.fullmatch(member) else _quoted(member) for member in path)


def _quoted(member: str) -> str:
    escaped = member.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def tree(compared: Collection[str], ignored: Collection[str]) -> Tree:
    """The members to compare and to ignore. Raises BadPath if one path is inside another or stands there twice."""
    top: Tree = {}
    for text, leaf in [*((path, path) for path in compared), *((path, None) for path in ignored)]:
        *above, last = parse(text)
        node = top
        for member in above:
            inner = node.setdefault(member, {})
            if not isinstance(inner, dict):
                raise BadPath(_("%(text)s is inside another path", text=repr(text)))
            node = inner
        if last in node:
            raise BadPath(_("%(text)s is the same as another path, or another path is inside it", text=repr(text)))
        node[last] = leaf
    return top


def follow(value: JSON, path: Path) -> JSON:
    """The value at the end of the path; None if a member is absent or no object."""
    for member in path:
        if not isinstance(value, dict):
            return None
        value = value.get(member)
    return value


def place(value: dict[str, JSON], path: Path, content: JSON) -> None:
    """Put content at the end of the path, in new objects where there is none."""
    *above, last = path
    for member in above:
        inner = value.setdefault(member, {})
        if not isinstance(inner, dict):
            raise TypeError(f"{member} is no object")
        value = inner
    value[last] = content


def beside(value: JSON, path: Path, allowed: Mapping[str, Tree | str | None]) -> Iterable[str]:
    """The members beside a path, at each level, that are not allowed there."""
    return _beside(value, path, allowed, ())


def _beside(value: JSON, path: Path, allowed: Mapping[str, Tree | str | None], above: Path) -> Iterable[str]:
    if not path or not isinstance(value, dict):
        return
    for member, content in value.items():
        inner = allowed.get(member, {})
        if member == path[0]:
            yield from _beside(content, path[1:], inner if isinstance(inner, dict) else {}, (*above, member))
        elif inner is None:
            continue
        elif inner and isinstance(inner, dict) and isinstance(content, dict):
            yield from _strangers(content, inner, (*above, member))
        else:
            yield spelled((*above, member))


def _strangers(value: Mapping[str, JSON], allowed: Mapping[str, Tree | str | None], above: Path) -> Iterable[str]:
    for member, content in value.items():
        inner = allowed.get(member, {})
        if inner is None:
            continue
        if inner and isinstance(inner, dict) and isinstance(content, dict):
            yield from _strangers(content, inner, (*above, member))
        else:
            yield spelled((*above, member))
