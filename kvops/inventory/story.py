"""A key's own story: deleted, restored, vanished, newly found, viewed; it outlives the key's row in the inventory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, TextChoices
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from audit.models import Entry
from kvops.models import Namespace, Scan, UnexpectedKey, UnexplainedDeletion

TOLD_BY = ("backups.history.key_story.events",)
"""Functions of (namespace, name) by name that give events, so that `kvops` does not import the apps above it."""

SHOWN = 20
"""Events of each kind, the newest."""


class KeyEventKind(TextChoices):
    """What happened to a key."""

    DELETED = "deleted", _("Deleted by KVOps")
    RESTORED = "restored", _("Restored by KVOps")
    CHANGED = "changed", _("Changed by KVOps")
    REAPPEARED = "reappeared", _("Reappeared after its deletion")
    UNEXPLAINED = "unexplained", _("Gone without an explanation")
    UNEXPECTED = "unexpected", _("Unexpected new key")
    OUTSIDE = "outside", _("Changed outside KVOps")
    OUTSIDE_NEW = "outside_new", _("Created outside KVOps")
    OUTSIDE_GONE = "outside_gone", _("Deleted outside KVOps")
    VIEWED = "viewed", _("Value viewed")
    REVEALED = "revealed", _("Masked value revealed")


_STAYS = (KeyEventKind.VIEWED, KeyEventKind.REVEALED, KeyEventKind.OUTSIDE)
"""Events after which the key exists as before."""


@dataclass(frozen=True)
class KeyEvent:
    """One event of a key, with the people behind it and links to its rows.

    `restore` is the address where a restore of the key from the deletion's backup starts; empty if it cannot.
    """

    at: datetime
    kind: KeyEventKind
    by: str = ""
    approved_by: str = ""
    note: str = ""
    links: Sequence[tuple[str, str]] = ()
    restore: str = ""


def of_key(namespace: Namespace, name: str) -> list[KeyEvent]:
    """Everything that KVOps knows of the past of a key, newest first."""
    told = [event for function in TOLD_BY for event in import_string(function)(namespace, name)]
    found = [*told, *_views(namespace, name)]
    found += _odd(namespace, name)
    return sorted(found, key=lambda event: event.at, reverse=True)


def fate(events: Iterable[KeyEvent], *, listed_at: datetime | None) -> KeyEvent | None:
    """The last event that decided whether the key exists, if the inventory does not show that.

    `listed_at` is the start of the scan that listed the key; None if the newest scan did not list it. For a listed key
    only a deletion after that start counts.
    """
    last = next((event for event in events if event.kind not in _STAYS), None)
    if last is None or listed_at is None:
        return last
    return last if last.kind == KeyEventKind.DELETED and last.at > listed_at else None


def _odd(namespace: Namespace, name: str) -> Iterator[KeyEvent]:
    """The scans that found the key gone, or new, without an explanation."""
    gone, new = UnexplainedDeletion.objects.filter(name=name), UnexpectedKey.objects.filter(name=name)
    scans = Scan.objects.complete().odd().filter(namespace=namespace)
    scans = scans.filter(Q(pk__in=gone.values("scan")) | Q(pk__in=new.values("scan")))
    scans = scans.annotate(found_gone=Exists(gone.filter(scan=OuterRef("pk"))))
    for scan in scans.select_related("acknowledged_by").order_by("-pk")[:SHOWN]:
        if scan.completed_at is None:
            continue
        unexplained = scan.found_gone  # type: ignore[attr-defined]  # annotated above
        yield KeyEvent(
            at=scan.completed_at,
            kind=KeyEventKind.UNEXPLAINED if unexplained else KeyEventKind.UNEXPECTED,
            by=str(scan.acknowledged_by or ""),
            note=scan.acknowledged_note,
            links=[
                (
                    gettext("Unexplained deletions") if unexplained else gettext("Unexpected keys"),
                    reverse("unexplained-scan", args=[scan.pk]) + ("" if unexplained else "?show=new"),
                )
            ],
        )


def _views(namespace: Namespace, name: str) -> list[KeyEvent]:
    """The views of its value, in KV or in a backup, and its reveals with the reason."""
    here = Q(subject=namespace.audited["subject"]) | Q(details__namespace=str(namespace))
    kinds = {Action.VALUE_VIEWED.value: KeyEventKind.VIEWED, Action.VALUE_REVEALED.value: KeyEventKind.REVEALED}
    # The newest of each kind, in one query: many views must not push the reveals out.
    found = [Entry.objects.filter(here, action=action, details__key=name).newest_first()[:SHOWN] for action in kinds]
    return [
        KeyEvent(
            at=entry.at,
            kind=kinds[entry.action],
            by=entry.actor,
            note=entry.details.get("reason", entry.subject_label if entry.subject.startswith("generation:") else ""),
            links=[(gettext("Audit log"), entry.get_absolute_url())],
        )
        for entry in found[0].union(*found[1:], all=True)
    ]
