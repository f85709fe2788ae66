"""The events of one key that deletions, restores and late checks know; the page of the key asks by name."""

from collections.abc import Iterator, Sequence

from django.db.models import Q
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from backups.history import deleted_keys
from backups.models import Generation, KeyChange, OutsideChange, Reappearance
from kvops.inventory.story import SHOWN, KeyEvent, KeyEventKind
from kvops.models import ApprovalRequest, Namespace, Run

_OUTSIDE = {
    OutsideChange.Kind.CHANGED: KeyEventKind.OUTSIDE,
    OutsideChange.Kind.NEW: KeyEventKind.OUTSIDE_NEW,
    OutsideChange.Kind.GONE: KeyEventKind.OUTSIDE_GONE,
}


def events(namespace: Namespace, name: str) -> Iterator[KeyEvent]:
    """Each deletion of the key, each restore and change of it, also outside KVOps, and each time it reappeared.

    A change that was refused, or that reading showed to have written nothing, is no event of the key.
    """
    found, deleted = deleted_keys.deletions(namespace)
    entries = found.filter(deleted, name=name).select_related("stage__request", *_people("stage__"))
    written = _people("restore__")
    restores = deleted_keys.restores(namespace, [name]).order_by("-restore").select_related(*written)
    bulk = deleted_keys.bulk_changes(namespace, name).select_related(*written)
    sent = Q(outcome__in=[KeyChange.Outcome.WRITTEN, KeyChange.Outcome.DIFFERENT]) | Q(outcome="", settled_at=None)
    changes = KeyChange.objects.filter(sent, namespace=namespace, name=name, attempt__gt=0).select_related(*_people(""))
    back = deleted_keys.reappearances(namespace, [name]).order_by("-found_at").select_related("acknowledged_by")
    outside = OutsideChange.objects.filter(search__namespace=namespace, name=name).order_by("-search")
    for told in (
        map(_deletion, entries.order_by("-stage")[:SHOWN]),
        map(_restore, restores[:SHOWN]),
        map(_bulk_change, bulk[:SHOWN]),
        map(_change, changes.order_by("-pk")[:SHOWN]),
        map(_reappearance, back[:SHOWN]),
        map(_outside, outside.select_related("search__acknowledged_by")[:SHOWN]),
    ):
        yield from (event for event in told if event is not None)


def _people(path: str) -> Sequence[str]:
    """The relations to the people behind a run and its approval, and to the backup."""
    return (f"{path}run__started_by", f"{path}approval__approver", f"{path}generation")


def _reappearance(one: Reappearance) -> KeyEvent:
    return KeyEvent(
        at=one.found_at,
        kind=KeyEventKind.REAPPEARED,
        by=str(one.acknowledged_by or ""),
        note=one.note or (_("with its old value") if one.same else _("with another value")),
        links=[(_("Stage"), f"{reverse('backups:stage', args=[one.stage_id])}?show=reappeared#lists")],
    )


def _outside(changed: OutsideChange) -> KeyEvent:
    search = changed.search
    return KeyEvent(
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


def _deletion(entry: deleted_keys.Deletion) -> KeyEvent | None:
    stage, at = entry.stage, entry.at
    if at is None:
        return None
    backup, restore = stage.generation, ""
    if backup and backup.status == Generation.Status.VERIFIED:
        restore = f"{reverse('backups:restore_new', args=[backup.pk])}?{urlencode({'name': entry.name})}"
    return KeyEvent(
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


def _restore(entry: deleted_keys.Written) -> KeyEvent | None:
    restore, at = entry.restore, entry.at
    if at is None:
        return None
    return KeyEvent(
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


def _bulk_change(entry: deleted_keys.Written) -> KeyEvent | None:
    restore, at = entry.restore, entry.at
    if at is None:
        return None
    return KeyEvent(
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


def _change(change: KeyChange) -> KeyEvent | None:
    if change.intended_at is None:
        return None
    return KeyEvent(
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
