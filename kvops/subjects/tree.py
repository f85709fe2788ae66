"""The tree of subjects: a clean-up with its stages, their approvals, runs, backups, checks and restores, and so on.

The audit log asks it by the setting `AUDIT_SUBJECTS`, because it imports nothing of the project.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.models import Func, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Concat
from django.db.models.lookups import Exact
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise

from audit.models import Entry, EntryQuerySet
from kvops import names
from kvops.models import Environment
from kvops.operations.registry import SUBJECTS

MOST = 2_000
"""Subjects. A tree is followed until it has this many."""

_DIGITS = 18

_WALK = """
WITH RECURSIVE tree (subject) AS (
  SELECT unnest(%s::text[])
  UNION
  SELECT found.subject FROM (
    SELECT subject, split_part(subject, ':', 1) AS kind,
           CASE WHEN split_part(subject, ':', 2) ~ '^[0-9]{{1,18}}$' THEN split_part(subject, ':', 2)::bigint END AS key
    FROM tree) AS here,
    LATERAL ({step}) AS found (subject)
)
SELECT subject FROM tree LIMIT %s
"""
_TOLD = """
SELECT told.*, near.place
FROM (SELECT subject, row_number() OVER () AS place FROM ({walk}) AS walk) AS near, LATERAL ({entries}) AS told
WHERE split_part(near.subject, ':', 1) = ANY(%s::text[])
ORDER BY near.place, told.seq DESC
"""
_KIND, _KEY = RawSQL("here.kind", ()), RawSQL("here.key", ())
"""The subject at hand, from which a step of the walk goes on."""


@dataclass(frozen=True)
class SubjectTree:
    """Subjects as the audit log spells them, and the number of each kind by its title. If `more`, it was cut."""

    subjects: list[str]
    more: bool

    @cached_property
    def counts(self) -> list[tuple[str | Promise, int]]:
        """The title of each kind and its number; none for a single subject that is not there."""
        if len(self.subjects) == 1 and not _is_there(self.subjects[0]):
            return []
        kinds = Counter(subject.partition(":")[0] for subject in self.subjects)
        return [(SUBJECTS[kind].title, number) for kind, number in kinds.items()]


def address(subject: str) -> str:
    """The address of a subject such as `run:5`; empty for one without a page."""
    kind, _, key = subject.partition(":")
    if kind not in SUBJECTS or not SUBJECTS[kind].page:
        return ""
    try:
        return reverse(SUBJECTS[kind].page, args=[key])
    except NoReverseMatch:
        # Entries are kept for ever, addresses may change: an old subject must not break the page.
        return ""


def titles(subjects: Iterable[str]) -> dict[str, str]:
    """The titles of these subjects in the reader's language, as far as they are known: one query for each kind."""
    return {
        f"{kind}:{key}": title
        for kind, some in _by_kind(subjects).items()
        if (titled := SUBJECTS[kind].titled)
        for key, title in titled(some).items()
    }


def environments() -> dict[str, str]:
    """The shown name of each environment by its slug, which is its name in entries, in the order of clean-up."""
    return dict(Environment.objects.order_by("order").values_list("slug", "name"))


def under(subject: str) -> SubjectTree:
    """The subject and everything under it, however deep."""
    return _tree([subject]) if _row(subject) else SubjectTree([subject], more=False)


def above(subjects: Iterable[str]) -> list[str]:
    """The subjects and everything that they are under, however high."""
    return _walked(subjects, _parents)[:MOST]


def entries_under(subject: str) -> EntryQuerySet:
    """The entries about the subject and everything under it, in one query with the tree."""
    if not _row(subject):
        return Entry.objects.about([subject])
    return Entry.objects.about_found(*_walk([subject], _children, MOST))


def entries_above(subject: str, wanted: EntryQuerySet, kinds: Iterable[str]) -> list[Entry]:
    """The wanted entries about the subject and all that it is under, of these kinds: the nearest first, in one query.

    They are looked for along the index, subject by subject.
    """
    walk, params = _walk([subject], _parents, MOST)
    about = wanted.newest_first().filter(subject=RawSQL("near.subject", (), output_field=TextField()))
    entries, asked = about.query.sql_with_params()
    return list(Entry.objects.raw(_TOLD.format(walk=walk, entries=entries), [*params, *asked, list(kinds)]))


def of_key(name: str) -> SubjectTree:
    """Everything that changed a key, deleted it, restored it or missed it, with everything under that."""
    found = [
        _rows(kind).filter(**{lookup: name}).order_by("-pk").values_list(_subject(kind, "pk"), flat=True)[: MOST + 1]
        for kind, one in SUBJECTS.items()
        for lookup in one.holds
    ]
    return _tree(found[0].union(*found[1:], all=True))


typed = names.typed
typeable = names.typeable


def _row(subject: str) -> tuple[str, int] | None:
    """The kind and the key of a subject; None if it names no row of a known kind."""
    kind, _, key = subject.partition(":")
    if kind not in SUBJECTS or not (key.isascii() and key.isdigit()) or len(key) > _DIGITS:
        return None
    return kind, int(key)


def _is_there(subject: str) -> bool:
    row = _row(subject)
    return row is not None and bool(SUBJECTS[row[0]].model) and _rows(row[0]).filter(pk=row[1]).exists()


def _by_kind(subjects: Iterable[str]) -> dict[str, set[int]]:
    keys: dict[str, set[int]] = {}
    for kind, key in filter(None, map(_row, subjects)):
        keys.setdefault(kind, set()).add(key)
    return keys


def _tree(roots: Iterable[str]) -> SubjectTree:
    """The roots and what lies under them, until nothing is new or the tree is full."""
    found = _walked(roots, _children)
    return SubjectTree(found[:MOST], more=len(found) > MOST)


def _walked(subjects: Iterable[str], step: Callable[[], Iterable[QuerySet[Model]]]) -> list[str]:
    """The subjects and what the steps from them reach, the nearest first, in one query, up to one more than `MOST`."""
    with connection.cursor() as cursor:
        cursor.execute(*_walk(subjects, step, MOST + 1))
        return [subject for (subject,) in cursor.fetchall()]


def _walk(
    subjects: Iterable[str], step: Callable[[], Iterable[QuerySet[Model]]], most: int
) -> tuple[str, Sequence[Any]]:
    """The statement of a walk and its parameters."""
    found = [rows.values_list("tree_next", flat=True) for rows in step()]
    sql, params = found[0].union(*found[1:], all=True).query.sql_with_params()
    return _WALK.format(step=sql), [list(subjects), *params, most]


def _parents() -> Iterator[QuerySet[Model]]:
    """The rows of the subject at hand, each with a subject that it is right under."""
    for kind, one in SUBJECTS.items():
        here = (Exact(_KIND, Value(kind)), Q(pk=_KEY))
        for parent, lookup in _lookups(kind):
            rows = _rows(kind).filter(*here).exclude(**{lookup: None})
            yield rows.annotate(tree_next=_subject(parent, lookup))
        if one.named:
            named = Func("subject", Value("/"), Value(1), function="split_part", output_field=TextField())
            yield _rows(kind).filter(*here).annotate(tree_next=named)


def _children() -> Iterator[QuerySet[Model]]:
    """The rows right under the subject at hand, the newest of each kind first."""
    for kind, one in SUBJECTS.items():
        names = [RawSQL("replace(%s, '{}', here.subject)", [form]) for form in one.named]
        found = [(parent, _rows(kind).filter(**{lookup: _KEY})) for parent, lookup in _lookups(kind)]
        found += [
            (parent, find([_KEY]))
            for parent, above in SUBJECTS.items()
            for child, find in above.children
            if child == kind and not isinstance(find, str)
        ]
        below = [rows.filter(Exact(_KIND, Value(parent))) for parent, rows in found]
        for rows in [*below, *([_rows(kind).filter(subject__in=names)] if names else [])]:
            yield rows.annotate(tree_next=_subject(kind, "pk")).order_by("-pk")[: MOST + 1]


def _lookups(kind: str) -> Iterator[tuple[str, str]]:
    """The kinds of parents of a kind, each with the lookup from a row to it, whichever of the two names it."""
    yield from SUBJECTS[kind].parents.items()
    for parent, above in SUBJECTS.items():
        yield from ((parent, lookup) for child, lookup in above.children if child == kind and isinstance(lookup, str))


def _subject(kind: str, key: str) -> Concat:
    return Concat(Value(f"{kind}:"), Cast(key, TextField()), output_field=TextField())


def _rows(kind: str) -> QuerySet[Model]:
    return QuerySet(apps.get_model(SUBJECTS[kind].model))
