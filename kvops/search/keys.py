"""Keys by their whole name, by its beginning and by a part of it, in all namespaces at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from kvops.models import Key, Namespace
from kvops.names import after_prefix
from kvops.search.matching import SearchText

WINDOW = 20_000
"""Names. A part is looked for in so many names of each namespace one by one, and further by the index of parts."""
_INDEXED = re.compile(r"[^\W_]{3}")
"""A part of a name that the index of parts can look up."""

# For each namespace the names that begin with the text, by the index of names, and the names with it as a part among
# the first of the namespace.
_NAMES = """
SELECT place.id, found.name FROM unnest(%(namespaces)s::bigint[]) AS place(id), LATERAL (
  (SELECT name FROM kvops_key WHERE namespace_id = place.id
      AND name >= %(text)s AND (%(beyond)s::text IS NULL OR name < %(beyond)s) ORDER BY name LIMIT %(most)s)
  UNION
  (SELECT name FROM (SELECT name FROM kvops_key WHERE namespace_id = place.id ORDER BY name LIMIT %(window)s) beginning
    WHERE strpos(name, %(text)s) > 0 ORDER BY name LIMIT %(most)s)) found
"""


@dataclass(frozen=True)
class FoundKey:
    """A key with its namespace."""

    namespace: Namespace
    name: str


def find(namespaces: Sequence[Namespace], wanted: SearchText, most: int) -> list[FoundKey]:
    """The keys with the text in their name: first the key of this name, then those that begin with it, then others.

    A text that is too short finds only the key of this very name.
    """
    if not wanted.text or not namespaces:
        return []
    by_key = {one.pk: one for one in namespaces}
    names = _names(list(by_key), wanted, most)
    order = {namespace: number for number, namespace in enumerate(by_key)}
    ranked = sorted(
        names,
        key=lambda one: (one[1] != wanted.text, not one[1].startswith(wanted.text), one[1], order[one[0]]),
    )
    return [FoundKey(by_key[namespace], name) for namespace, name in ranked[:most]]


def _names(namespaces: list[int], wanted: SearchText, most: int) -> set[tuple[int, str]]:
    keys = Key.objects.order_by().values_list("namespace_id", "name")
    if not wanted.long_enough:
        return set(keys.filter(namespace__in=namespaces, name=wanted.text))
    params = {"text": wanted.text, "beyond": after_prefix(wanted.text), "window": WINDOW, "most": most}
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, {"namespaces": namespaces, **params})
        found = set(cursor.fetchall())
    if len(found) < most and _INDEXED.search(wanted.text):
        # Unordered and in all namespaces, so that Postgres uses the index of parts.
        further = keys.filter(name__contains=wanted.text)[:WINDOW]
        found |= {(namespace, name) for namespace, name in further if namespace in namespaces}
    return found
