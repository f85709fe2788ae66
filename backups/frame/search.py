"""The rows of backups and clean-ups, and the deleted keys, that a search finds. None of it has a value of a key."""

from typing import Any

from django.db.models import Exists, F, Func, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat
from django.utils.functional import Promise

from backups.history.deleted_keys import OVER
from backups.models import (
    BulkChange,
    CleanupEntry,
    CleanupException,
    CleanupRequest,
    Generation,
    Investigation,
    KeyChange,
    PruneRequest,
    Restore,
)
from kvops.models import Key
from kvops.models.inventory import beginning_with
from kvops.operations.registry import SUBJECTS
from kvops.search.matching import FoundRow, SearchText, matched, shown

_LISTED = "(SELECT string_agg(one, ', ') FROM jsonb_array_elements_text(%(expressions)s) one)"
"""The texts of a JSON list, in one line."""


def _called(kind: str) -> list[tuple[Q, str | Promise]]:
    """The title of the kind, for all its rows."""
    return [(Q(), SUBJECTS[kind].title)]


def _after_binding(binding: str, text: str | Func) -> Concat:
    return Concat(Cast(binding, TextField()), Value(" ", TextField()), Cast(text, TextField()))


def cleanups(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Clean-ups by number, prefix or ticket."""
    rows = matched(CleanupRequest.objects.filter(clearing=None), wanted, "prefix", "ticket", called=_called("cleanup"))
    return shown(rows, "cleanup", _after_binding("binding", "prefix"), most=most)


def restores(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Restores by number or prefix."""
    rows = matched(Restore.objects.restoring(), wanted, "prefix", called=_called("restore"))
    return shown(rows, "restore", "prefix", environment="environment", most=most)


def changes(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Changes of single keys by number or the name of the key."""
    rows = matched(KeyChange.objects.all(), wanted, "name", called=_called("keychange"))
    return shown(rows, "keychange", "name", environment="environment", most=most)


def bulk_changes(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Bulk changes by number or the pattern of their family."""
    rows = matched(BulkChange.objects.all(), wanted, "family__pattern", called=_called("bulkchange"))
    return shown(rows, "bulkchange", "family__pattern", environment="restore__environment", most=most)


def prunes(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Prune requests by number or kind."""
    rows = matched(PruneRequest.objects.all(), wanted, called=_called("prune"))
    return shown(rows, "prune", Value(""), environment="environment", most=most)


def investigations(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Investigations by number or title."""
    rows = matched(Investigation.objects.all(), wanted, "title", called=_called("investigation"))
    return shown(rows, "investigation", "title", environment="environment", most=most)


def backups(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Backups by number or prefix."""
    rows = matched(Generation.objects.all(), wanted, "prefixes", called=_called("generation"))
    text = _after_binding("namespace__binding", Func(F("prefixes"), template=_LISTED, output_field=TextField()))
    return shown(rows, "generation", text, environment="environment", most=most)


def deleted_keys(wanted: SearchText, most: int) -> QuerySet[Any, tuple[int, str]]:
    """Deleted keys that begin with the text, each with its namespace; a key that is there again is not among them.

    A text that is too short finds only the key of this very name.
    """
    deleted = CleanupEntry.objects.filter(stage__state__in=OVER)
    named = beginning_with(deleted, wanted.text) if wanted.long_enough else deleted.filter(name=wanted.text)
    there = Key.objects.filter(namespace=OuterRef("stage__namespace"), name=OuterRef("name"))
    excepted = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    found: QuerySet[Any, Any] = (
        named.filter(~Exists(there), ~Exists(excepted))
        .order_by("name", "stage__namespace")
        .values_list("stage__namespace", "name")
        .distinct()
    )
    return found[:most]
