"""A key's own story: deleted, restored, vanished, newly found, viewed; it outlives the key's row in the inventory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db.models import Q, QuerySet, TextChoices
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from audit.models import Entry
from kvops.models import Namespace, Scan, UnexpectedKey, UnexplainedDeletion
from kvops.operations import registry
from kvops.operations.parts import Question

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


def of_key(namespace: Namespace, name: str) -> Sequence[KeyEvent]:
    """Everything that KVOps knows of the past of a key, newest first."""
    events = [*registry.ask(Question.KEY_EVENTS, namespace, name), *_odd(namespace, name)]
    for action, rows in _views(namespace, name).items():
        events += map(partial(_viewed, _SEEN[action]), rows)
    return sorted(events, key=lambda event: event.at, reverse=True)


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
    gone = set(UnexplainedDeletion.objects.filter(name=name, scan__namespace=namespace).values_list("scan", flat=True))
    new = UnexpectedKey.objects.filter(name=name).values("scan")
    scans = Scan.objects.complete().odd().filter(Q(pk__in=gone) | Q(pk__in=new), namespace=namespace)
    for scan in scans.select_related("acknowledged_by").order_by("-pk")[:SHOWN]:
        if scan.completed_at:
            yield _found_odd(scan, scan.completed_at, unexplained=scan.pk in gone)


def _found_odd(scan: Scan, at: datetime, *, unexplained: bool) -> KeyEvent:
    return KeyEvent(
        at=at,
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


_SEEN = {Action.VALUE_VIEWED.value: KeyEventKind.VIEWED, Action.VALUE_REVEALED.value: KeyEventKind.REVEALED}


def _views(namespace: Namespace, name: str) -> Mapping[str, QuerySet[Entry]]:
    """The views of its value, in KV or in a backup, and its reveals: the newest of each, so that none is pushed out."""
    here = Q(subject=namespace.audited["subject"]) | Q(details__namespace=str(namespace))
    return {
        action: Entry.objects.filter(here, action=action, details__key=name).newest_first()[:SHOWN] for action in _SEEN
    }


def _viewed(kind: KeyEventKind, entry: Entry) -> KeyEvent:
    backup = entry.subject_label if entry.subject.startswith("generation:") else ""
    return KeyEvent(
        at=entry.at,
        kind=kind,
        by=entry.actor,
        note=entry.details.get("reason", backup),
        links=[(gettext("Audit log"), entry.get_absolute_url())],
    )
