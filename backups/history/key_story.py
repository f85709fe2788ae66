"""The events of one key that deletions, restores and late checks know; the page of the key asks by name."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from backups.history import deleted_keys
from backups.models import CleanupEntry, Generation, KeyChange, OutsideChange, Reappearance, RestoreEntry
from kvops.inventory.story import SHOWN, KeyEvent, KeyEventKind
from kvops.models import ApprovalRequest, Namespace, Run
from kvops.web.gather import ask, moment
from kvops.web.objects import Objects

_OUTSIDE = {
    OutsideChange.Kind.CHANGED: KeyEventKind.OUTSIDE,
    OutsideChange.Kind.NEW: KeyEventKind.OUTSIDE_NEW,
    OutsideChange.Kind.GONE: KeyEventKind.OUTSIDE_GONE,
}


def events(namespaces: Sequence[Namespace], name: str) -> Iterator[tuple[int, KeyEvent]]:
    """Each deletion of the key, each restore and change of it, also outside KVOps, and each time it reappeared.

    One statement asks for all of them. Each event comes with its namespace's primary key. A change that was refused, or
    that reading showed to have written nothing, is no event of the key.
    """
    sources = {
        f"{namespace.pk}_{at}": (namespace.pk, *source)
        for namespace in namespaces
        for at, source in enumerate(_sources(namespace, name))
    }
    answers = ask({label: rows.question for label, (_pk, _give, rows) in sources.items()}, {})
    for label, (pk, give, rows) in sources.items():
        yield from ((pk, event) for row in rows.of(answers, label) for event in give(row))


type _Source = tuple[Callable[[Any], Iterator[KeyEvent]], Objects[Any]]
"""A function that gives the events of a row, and the rows about the key, the newest first."""


def _sources(namespace: Namespace, name: str) -> Sequence[_Source]:
    found, deleted = deleted_keys.deletions(namespace)
    sent = Q(outcome__in=[KeyChange.Outcome.WRITTEN, KeyChange.Outcome.DIFFERENT]) | Q(outcome="", settled_at=None)
    changes = KeyChange.objects.filter(sent, namespace=namespace, name=name, attempt__gt=0)
    outside = OutsideChange.objects.filter(search__namespace=namespace, name=name)
    back = deleted_keys.reappearances(namespace, [name]).order_by("-found_at")
    written = ("at", "outcome", "restore__operation", *_people("restore__"), "restore__generation__status")
    stage = ("name", "at", "stage__request__reason", *_people("stage__"), "stage__generation__status")
    change = ("intended_at", "reason", "outcome", *_people(""), "generation__status")
    seen = ("found_at", "note", "same", "stage__state", *_person("acknowledged_by"))
    search = ("at", "acknowledged_note", "generation__status", *_person("acknowledged_by"))
    return [
        (_deletion, Objects(found.filter(deleted, name=name).order_by("-stage")[:SHOWN], *stage)),
        (_restore, Objects(deleted_keys.restores(namespace, [name]).order_by("-restore")[:SHOWN], *written)),
        (_bulk_change, Objects(deleted_keys.bulk_changes(namespace, name)[:SHOWN], *written)),
        (_change, Objects(changes.order_by("-pk")[:SHOWN], *change)),
        (_reappearance, Objects(back[:SHOWN], *seen)),
        (_outside, Objects(outside.order_by("-search")[:SHOWN], "kind", *(f"search__{each}" for each in search))),
    ]


def _people(path: str) -> Sequence[str]:
    """The people behind a run and its approval, as `_by` and `_approver` name them."""
    return (f"{path}run__actor", *_person(f"{path}run__started_by"), *_person(f"{path}approval__approver"))


def _person(path: str) -> Sequence[str]:
    return (f"{path}__name", f"{path}__email")


def _reappearance(one: Reappearance) -> Iterator[KeyEvent]:
    yield KeyEvent(
        at=one.found_at,
        kind=KeyEventKind.REAPPEARED,
        by=str(one.acknowledged_by or ""),
        note=one.note or (_("with its old value") if one.same else _("with another value")),
        links=[(_("Stage"), f"{reverse('backups:stage', args=[one.stage_id])}?show=reappeared#lists")],
    )


def _outside(changed: OutsideChange) -> Iterator[KeyEvent]:
    search = changed.search
    yield KeyEvent(
        at=search.at,
        kind=_OUTSIDE[OutsideChange.Kind(changed.kind)],
        by=str(search.acknowledged_by or ""),
        note=search.acknowledged_note,
        links=[
            (_("Settings changed outside KVOps"), reverse("backups:outside", args=[search.pk])),
            (
                _("Backup %(pk)s") % {"pk": search.generation_id},
                reverse("backups:generation", args=[search.generation_id]),
            ),
        ],
    )


def _deletion(entry: CleanupEntry) -> Iterator[KeyEvent]:
    stage, at = entry.stage, moment(vars(entry)["at"])
    if at is None:
        return
    backup, restore = stage.generation, ""
    if backup and backup.status == Generation.Status.VERIFIED:
        restore = f"{reverse('backups:restore_new', args=[backup.pk])}?{urlencode({'name': entry.name})}"
    yield KeyEvent(
        at=at,
        kind=KeyEventKind.DELETED,
        by=_by(stage.run),
        approved_by=_approver(stage.approval),
        note=stage.request.reason,
        links=[
            (_("Clean-up"), reverse("backups:cleanup", args=[stage.request_id])),
            (_("Stage"), reverse("backups:stage", args=[stage.pk])),
            *_links(stage.approval, backup),
        ],
        restore=restore,
    )


def _restore(entry: RestoreEntry) -> Iterator[KeyEvent]:
    restore, at = entry.restore, moment(vars(entry)["at"])
    if at is None:
        return
    yield KeyEvent(
        at=at,
        kind=KeyEventKind.RESTORED,
        by=_by(restore.run),
        approved_by=_approver(restore.approval),
        note=entry.get_outcome_display(),
        links=[
            (_("Restore"), reverse("backups:restore", args=[restore.pk])),
            *_links(restore.approval, restore.generation),
        ],
    )


def _bulk_change(entry: RestoreEntry) -> Iterator[KeyEvent]:
    restore, at = entry.restore, moment(vars(entry)["at"])
    if at is None:
        return
    yield KeyEvent(
        at=at,
        kind=KeyEventKind.CHANGED,
        by=_by(restore.run),
        approved_by=_approver(restore.approval),
        note=str(restore.get_operation_display()),
        links=[
            (_("Bulk change %(pk)s") % {"pk": restore.pk}, reverse("backups:bulk_change", args=[restore.pk])),
            *_links(restore.approval, restore.generation),
        ],
    )


def _change(change: KeyChange) -> Iterator[KeyEvent]:
    if change.intended_at is None:
        return
    yield KeyEvent(
        at=change.intended_at,
        kind=KeyEventKind.CHANGED,
        by=_by(change.run),
        approved_by=_approver(change.approval),
        note=change.reason if change.outcome == KeyChange.Outcome.WRITTEN else change.get_outcome_display(),
        links=[
            (_("Change %(pk)s") % {"pk": change.pk}, reverse("backups:change", args=[change.pk])),
            *_links(change.approval, change.generation),
        ],
    )


def _by(run: Run | None) -> str:
    return str(run.started_by or run.actor) if run else ""


def _approver(approval: ApprovalRequest | None) -> str:
    return str(approval.approver or "") if approval else ""


def _links(approval: ApprovalRequest | None, backup: Generation | None) -> Sequence[tuple[str, str]]:
    found = []
    if approval:
        found.append((_("Approval %(pk)s") % {"pk": approval.pk}, reverse("approval", args=[approval.pk])))
    if backup:
        found.append((_("Backup %(pk)s") % {"pk": backup.pk}, reverse("backups:generation", args=[backup.pk])))
    return found
