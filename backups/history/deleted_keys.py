"""The keys that KVOps deleted from a namespace, and what became of them, from the rows of deletions and restores.

The inventory is not asked: it forgets a key that is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from backups.models import (
    CleanupChunk,
    CleanupEntry,
    CleanupException,
    CleanupStage,
    Reappearance,
    RestoreChunk,
    RestoreEntry,
)
from kvops.inventory import browse
from kvops.models import Key, Namespace
from kvops.models.inventory import beginning_with
from kvops.names import storable
from kvops.search.matching import SearchText

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class When(TypedDict):
    """What the names of a deletion or a restore are read with: the time of the intent."""

    at: datetime | None


type Deletion = WithAnnotations[CleanupEntry, When]
type Written = WithAnnotations[RestoreEntry, When]
State = CleanupStage.State
OVER = (State.DELETED, State.CONFIRMED, State.ACCEPTED)
PRESENT = (RestoreEntry.Outcome.WRITTEN, RestoreEntry.Outcome.EQUAL)


@dataclass(frozen=True)
class DeletedKey:
    """One deleted key: its last deletion, the restore that wrote it since, and its reappearance."""

    entry: Deletion
    at: datetime | None
    restored: Written | None
    reappeared: Reappearance | None

    @property
    def shown_state(self) -> str:
        """The state of the deletion for this key: a restore of other keys does not bring it back."""
        return self.entry.stage.shown_state if self.restored else self.entry.stage.deletion_state


def deletions(namespace: Namespace) -> tuple[QuerySet[Deletion], Q]:
    """The names of the deletions of a namespace, and the condition that a name was deleted.

    A name was deleted if its deletion has reached it and noted no exception. A row has `at`, the time of the intent.
    """
    excepted = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    reached = Q(stage__state__in=OVER) | Q(stage__state=State.DELETING, index__lt=F("stage__run__done"))
    sent = CleanupChunk.objects.filter(
        stage=OuterRef("stage"), first_index__lte=OuterRef("index"), last_index__gte=OuterRef("index"), names__gt=0
    ).exclude(answer__has_key="unsent")
    begun = [*OVER, State.DELETING]
    found = CleanupEntry.objects.filter(
        stage__namespace=namespace, stage__run__isnull=False, stage__state__in=begun
    ).annotate(at=Subquery(sent.order_by("-number").values("intended_at")[:1]))
    return found, reached & ~Q(Exists(excepted))


def page(
    namespace: Namespace, *, prefix: str, part: str, after: str, limit: int
) -> tuple[Sequence[DeletedKey], str | None]:
    """The deleted keys after a name, in byte order, each once; and the name after which the next page begins."""
    found, deleted = deletions(namespace)
    if after and storable(after):
        found = found.filter(name__gt=after)
    found = beginning_with(found, prefix)
    again = deletions(namespace)[0].filter(deleted, name=OuterRef("name"), stage__gt=OuterRef("stage"))
    shown, further = browse.page_of_names(
        found.select_related("stage__environment", "stage__run")
        .prefetch_related("stage__undos", "stage__restores")
        .order_by("name"),
        Q(),
        part=part,
        limit=limit,
        costly=deleted & ~Q(Exists(again)),
    )
    names = [entry.name for entry in shown]
    restored = {entry.name: entry for entry in restores(namespace, names).order_by("restore")}
    back = {each.name: each for each in reappearances(namespace, names).order_by("found_at")}
    return [_with_the_rest(entry, restored, back) for entry in shown], further


def restores(namespace: Namespace, names: Sequence[str]) -> QuerySet[Written]:
    """The names that restores and undos wrote, or found equal, with `at`, the time of the intent."""
    return _written(namespace, names, PRESENT).filter(restore__operation="").select_related("restore")


def bulk_changes(namespace: Namespace, name: str) -> QuerySet[Written]:
    """The bulk changes that wrote the key, the newest first, with `at`, the time of the intent."""
    written = (RestoreEntry.Outcome.WRITTEN, RestoreEntry.Outcome.DIFFERENT, RestoreEntry.Outcome.LOST)
    return _written(namespace, [name], written).exclude(restore__operation="").order_by("-restore")


def _written(namespace: Namespace, names: Sequence[str], outcomes: Sequence[str]) -> QuerySet[Written]:
    """The names with one of the outcomes, with the time of the newest intent."""
    sent = RestoreChunk.objects.filter(
        restore=OuterRef("restore"), first_index__lte=OuterRef("index"), last_index__gte=OuterRef("index")
    )
    found = RestoreEntry.objects.filter(restore__namespace=namespace, name__in=names, outcome__in=outcomes)
    return found.annotate(at=Subquery(sent.order_by("-number").values("intended_at")[:1]))


def reappearances(namespace: Namespace, names: Sequence[str]) -> QuerySet[Reappearance]:
    """The deleted names that a later check found again."""
    return Reappearance.objects.filter(stage__namespace=namespace, name__in=names).select_related("stage")


def _with_the_rest(entry: Deletion, restored: dict[str, Written], back: dict[str, Reappearance]) -> DeletedKey:
    since, seen = restored.get(entry.name), back.get(entry.name)
    since = since if since and _later(since.at, entry.at) else None
    return DeletedKey(entry, entry.at, since, seen if seen and seen.stage_id == entry.stage_id else None)


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)


def found(wanted: SearchText, most: int) -> QuerySet[Any, tuple[int, str]]:
    """Deleted keys that begin with the text, each with its namespace; a key that is there again is not among them.

    A text that is too short finds only the key of this very name.
    """
    deleted = CleanupEntry.objects.filter(stage__state__in=OVER)
    named = beginning_with(deleted, wanted.text) if wanted.long_enough else deleted.filter(name=wanted.text)
    there = Key.objects.filter(namespace=OuterRef("stage__namespace"), name=OuterRef("name"))
    excepted = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    rows: QuerySet[Any, Any] = (
        named.filter(~Exists(there), ~Exists(excepted))
        .order_by("name", "stage__namespace")
        .values_list("stage__namespace", "name")
        .distinct()
    )
    return rows[:most]
