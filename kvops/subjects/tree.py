"""The tree of subjects: a clean-up with its stages, their approvals, runs, backups, checks and restores, and so on.

The audit log asks it by the setting `AUDIT_SUBJECTS`, because it imports nothing of the project.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from kvops import names
from kvops.subjects.kinds import KINDS

MOST = 2_000
"""Subjects. A tree is followed until it has this many."""

_DIGITS = 18

type Keys = Mapping[str, Collection[int]]
"""Primary keys of rows, by kind."""


@dataclass(frozen=True)
class SubjectTree:
    """Subjects as the audit log spells them, and the number of each kind by its title. If `more`, it was cut."""

    subjects: list[str]
    counts: list[tuple[str | Promise, int]]
    more: bool


def address(subject: str) -> str:
    """The address of a subject such as `run:5`; empty for one without a page."""
    kind, _, key = subject.partition(":")
    if kind not in KINDS or not KINDS[kind].page:
        return ""
    try:
        return reverse(KINDS[kind].page, args=[key])
    except NoReverseMatch:
        # Entries are kept for ever, addresses may change: an old subject must not break the page.
        return ""


def titles(subjects: Iterable[str]) -> dict[str, str]:
    """The titles of these subjects in the reader's language, as far as they are known: one query for each kind."""
    return {
        f"{kind}:{key}": title
        for kind, some in _by_kind(subjects).items()
        if (function := KINDS[kind].titled)
        for key, title in import_string(function)(some).items()
    }


def under(subject: str) -> SubjectTree:
    """The subject and everything under it, however deep."""
    row = _row(subject)
    return _tree({row[0]: [row[1]]}) if row else SubjectTree([subject], [], more=False)


def above(subjects: Iterable[str]) -> list[str]:
    """The subjects and everything that they are under, however high."""
    seen = dict.fromkeys(subjects)
    level = list(seen)
    while level and len(seen) < MOST:
        level = [subject for subject in dict.fromkeys(_parents(level)) if subject not in seen]
        seen |= dict.fromkeys(level)
    return list(seen)


def of_key(name: str) -> SubjectTree:
    """Everything that changed a key, deleted it, restored it or missed it, with everything under that."""
    roots = {
        kind: [key for lookup in one.holds for key in _keys(_rows(kind).filter(**{lookup: name}))][:MOST]
        for kind, one in KINDS.items()
        if one.holds
    }
    return _tree(roots)


typed = names.typed
typeable = names.typeable


def functions() -> Iterator[str]:
    """The functions that the kinds name."""
    for kind in KINDS.values():
        yield from kind.found.values()
        yield from filter(None, [kind.titled])


def _row(subject: str) -> tuple[str, int] | None:
    """The kind and the key of a subject; None if it names no row of a known kind."""
    kind, _, key = subject.partition(":")
    if kind not in KINDS or not (key.isascii() and key.isdigit()) or len(key) > _DIGITS:
        return None
    return kind, int(key)


def _by_kind(subjects: Iterable[str]) -> dict[str, set[int]]:
    keys: dict[str, set[int]] = {}
    for kind, key in filter(None, map(_row, subjects)):
        keys.setdefault(kind, set()).add(key)
    return keys


def _parents(subjects: Iterable[str]) -> Iterator[str]:
    """The subjects that these are right under, in one query."""
    found: list[QuerySet[Model]] = []
    forms = []
    for kind, keys in _by_kind(subjects).items():
        one, rows = KINDS[kind], _rows(kind).filter(pk__in=keys)
        for parent, lookup in one.parents.items():
            found.append(rows.exclude(**{lookup: None}).annotate(tree_above=Cast(lookup, TextField())))
            forms.append(f"{parent}:{{}}")
        if one.named:
            found.append(rows.annotate(tree_above=Cast("subject", TextField())))
            forms.append("{}")
    for at, above in _together(found, "tree_above"):
        yield forms[at].format(above).partition("/")[0]


def _tree(roots: Keys) -> SubjectTree:
    """The roots and what lies under them, level by level, until nothing is new or the tree is full."""
    seen: dict[str, dict[int, None]] = {kind: dict.fromkeys(keys) for kind, keys in roots.items()}
    level, more = roots, False
    while any(level.values()) and not more:
        below: dict[str, list[int]] = {}
        children = _children(level)
        for kind in KINDS:
            known = seen.setdefault(kind, {})
            left = MOST - sum(map(len, seen.values()))
            new = [key for key in dict.fromkeys(children.get(kind, [])) if key not in known]
            more = more or len(new) > left
            below[kind] = new[:left]
            known |= dict.fromkeys(below[kind])
        level = below
    subjects = [f"{kind}:{key}" for kind, keys in seen.items() for key in keys]
    counts = Counter({kind: len(keys) for kind, keys in seen.items() if keys})
    return SubjectTree(subjects, [(KINDS[kind].title, number) for kind, number in counts.items()], more=more)


def _children(level: Keys) -> Mapping[str, Sequence[int]]:
    """The keys of the rows whose parents are on this level, by kind; in one query besides those of the functions."""
    found = [(kind, rows) for kind in KINDS for rows in _children_of(kind, level)]
    below: dict[str, list[int]] = {}
    newest = [rows.order_by("-pk")[: MOST + 1] for _kind, rows in found]
    for at, key in sorted(_together(newest, "pk"), key=lambda one: (one[0], -one[1])):
        below.setdefault(found[at][0], []).append(key)
    return below


def _children_of(kind: str, level: Keys) -> Iterator[QuerySet[Model]]:
    one = KINDS[kind]
    for parent, lookup in one.parents.items():
        if keys := level.get(parent):
            yield _rows(kind).filter(**{f"{lookup}__in": keys})
    for parent, function in one.found.items():
        if keys := level.get(parent):
            yield import_string(function)(keys)
    names = [form.format(f"{parent}:{key}") for parent, keys in level.items() for key in keys for form in one.named]
    if names:
        yield _rows(kind).filter(subject__in=names)


def _together(found: Sequence[QuerySet[Model]], column: str) -> Iterable[tuple[int, Any]]:
    """A column of all these rows with the place of their query, in one query."""
    numbered = [rows.annotate(tree_place=Value(at)).values_list("tree_place", column) for at, rows in enumerate(found)]
    if not numbered:
        return []
    together: Iterable[tuple[int, Any]] = numbered[0].union(*numbered[1:], all=True)
    return together


def _rows(kind: str) -> QuerySet[Model]:
    return QuerySet(apps.get_model(KINDS[kind].model))


def _keys(rows: QuerySet[Model]) -> Iterable[int]:
    return rows.order_by("-pk").values_list("pk", flat=True)[: MOST + 1]
