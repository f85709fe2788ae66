"""Bulk changes: submitted with a reason, approved by another person, started, ended early, accepted.

Each move is one conditional UPDATE and one audit entry. Only a signed-in operator submits and starts.
"""

from datetime import timedelta

from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.changes.bulk import evidence as bulk_evidence, qa
from backups.changes.bulk.start import insist_writable
from backups.models import BulkChange, CleanupStage, Generation, Restore
from backups.restores.moves import (
    BULK_CHANGES,
    RestoreRefused,
    insist_alone,
    insist_names,
    label,
    record_restore,
)
from kvops import clock, timing
from kvops.approvals import evidence
from kvops.environments import hours
from kvops.inventory.families import Families
from kvops.models import ApprovalRequest, Category, Namespace, Person, Run
from kvops.runbook import secrets
from kvops.wording import columns, insist_explained, moment, say

State = Restore.State
decided = BULK_CHANGES.decided
locked, insist_operator = BULK_CHANGES.locked, BULK_CHANGES.insist_operator


def submit(restore: Restore, *, reason: str, by: Person) -> ApprovalRequest:
    """Ask another person to approve exactly this change: prepared -> submitted. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(restore)
        if mine.state != State.PREPARED:
            raise RestoreRefused(say(_("The bulk change is not ready to submit: %(state)s."), state=label(mine)))
        insist_explained(reason, RestoreRefused, _("Give the reason for the change. The reviewer reads it."))
        secrets.insist_no_secret(reason)
        insist_prepared(mine)
        insist_writable(mine.bulk.lifetime, mine.bulk.until)
        mine.bulk.repeats = _accepted_before(mine.bulk)
        BulkChange.objects.filter(pk=mine.pk).update(repeats=mine.bulk.repeats)
        mine.reason = reason.strip()
        return BULK_CHANGES.submit(
            mine,
            State.PREPARED,
            title=bulk_evidence.title(mine),
            evidence=bulk_evidence.build(mine),
            by=by,
            values={"reason": mine.reason, **columns("returned_because", "")},
        )


def insist_prepared(restore: Restore) -> None:
    """Raise RestoreRefused unless the keys were backed up within a day, and all are of the one cache family."""
    fresh = Now() - timedelta(seconds=timing.SCAN_FRESH)
    if not Restore.objects.filter(pk=restore.pk, compared_at__gte=fresh).exists():
        raise RestoreRefused(_("The keys were backed up more than a day ago. Give this up and choose them again."))
    if not Generation.objects.verified().filter(pk=restore.generation_id).exists():
        raise RestoreRefused(_("The backup of the keys is no longer verified. Give this up and choose them again."))
    insist_names(restore)
    family, of = restore.bulk.family, Families.of(restore.namespace.binding)
    names = restore.entries.order_by("index").values_list("name", flat=True).iterator(10_000)
    if family.category != Category.CACHE or any(of.family(name) != family for name in names):
        raise RestoreRefused(_("The policy changed: not all of these keys are of the cache any more. Choose again."))


def _accepted_before(bulk: BulkChange) -> BulkChange | None:
    """The newest accepted change that this one repeats; None before production. Raises RestoreRefused."""
    if not qa.comes_first(bulk):
        return None
    found = qa.accepted_before(bulk)
    if found is None:
        raise RestoreRefused(
            _(
                "QA first: the same operation on the same family must be done and accepted in QA within the last 7 "
                "days, and not undone since. Its keys may not live longer there than here."
            )
        )
    return found


def start(restore: Restore, *, by: Person) -> Run:
    """Approved -> writing: claim the approval, create the run and fix the expiration in one transaction.

    Raises RestoreRefused and ApprovalRefused if a right, the time or the evidence is no longer valid; then nothing is
    started. Stale evidence also moves the change back to prepared.
    """
    return BULK_CHANGES.start(
        restore,
        by=by,
        insist=_insist_startable,
        derive=_digest,
        stale=lambda _restore: (
            _("The keys to change differ from the approved ones."),
            _("The keys to change differ from the approved ones. Give this up and choose them again."),
        ),
        total=lambda mine: mine.names,
        begun=lambda mine: _fix_expiration(mine.bulk),
    )


def _insist_startable(restore: Restore) -> None:
    _insist_time(restore)
    _insist_family_at_rest(restore)
    insist_alone(restore)


def _digest(restore: Restore) -> str:
    insist_prepared(restore)
    _insist_qa(restore.bulk)
    return evidence.digest_of(evidence.canonical_evidence(bulk_evidence.build(restore)))


def _insist_qa(bulk: BulkChange) -> None:
    """Raise RestoreRefused if the change of QA was undone since, or its keys lived longer than these would by now."""
    if not qa.still_counts(bulk):
        raise RestoreRefused(
            _(
                "QA first: the change that this one repeats was undone, or its keys lived longer than these would. End "
                "the request, and make the change in QA again."
            )
        )


def _insist_time(restore: Restore) -> None:
    """Raise RestoreRefused outside the allowed hours, and if an absolute expiration is too close by now."""
    environment = restore.environment
    if opens := hours.next_opening(environment, clock.now()):
        sentence = _(
            "In %(name)s keys are changed only within the allowed hours (%(hours)s). The next time is %(time)s."
        )
        within = f"{environment.hours} {environment.days}".strip()
        raise RestoreRefused(say(sentence, name=environment.name, hours=within, time=moment(opens)))
    insist_writable(restore.bulk.lifetime, restore.bulk.until)


def _insist_family_at_rest(restore: Restore) -> None:
    """Raise RestoreRefused while keys of the same family are deleted: a stale read would bring a key back."""
    # The start of a deletion takes the same lock, so each of both sees the other.
    Namespace.objects.select_for_update(no_key=True).get(pk=restore.namespace_id)
    of_family = CleanupStage.objects.filter(namespace=restore.namespace, request__family=restore.bulk.family)
    found = of_family.filter(state__in=[CleanupStage.State.DELETING, CleanupStage.State.DELETED]).first()
    if found is not None:
        sentence = _("A deletion of the same family is under way: %(page)s")
        raise RestoreRefused(say(sentence, page=reverse("backups:stage", args=[found.pk])))


def _fix_expiration(bulk: BulkChange) -> None:
    """Fix the time at which every key expires, in the transaction of the start. A mark has none."""
    if bulk.operation == Restore.Operation.EXPIRATION:
        at = bulk.until if bulk.lifetime is None else int(clock.now().timestamp()) + bulk.lifetime
        BulkChange.objects.filter(pk=bulk.pk, expiration=None).update(expiration=at)


def give_up(restore: Restore, *, by: Person) -> None:
    """Give up a change that was not submitted. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        states, values = [State.PREPARING, State.PREPARED], {"finished_at": Now()}
        BULK_CHANGES.move(locked(restore), states, State.ENDED, Action.BULK_ENDED, actor=by.actor, values=values)


def end_early(restore: Restore, *, by: Person) -> None:
    """End a stopped or failed change early: sent keys are still compared, no further key is written."""
    BULK_CHANGES.end_early(restore, lambda _restore, _run: {"phase": "write", "ending": True}, by=by)


def accept(restore: Restore, *, note: str, by: Person) -> None:
    """Record that the application works with the changed keys. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        insist_explained(note, RestoreRefused, _("Describe what you tried in the application, and that it works."))
        secrets.insist_no_secret(note)
        mine = locked(restore)
        if mine.state != State.DONE or not mine.written + mine.equal:
            raise RestoreRefused(_("Only a change that was written can be accepted, and only once."))
        values = {"accepted_at": Now(), "accepted_by": by, "accepted_note": note.strip()}
        if BulkChange.objects.filter(pk=mine.pk, accepted_at=None).update(**values) != 1:
            raise RestoreRefused(_("Only a change that was written can be accepted, and only once."))
        record_restore(Action.BULK_ACCEPTED, mine, actor=by.actor, details={"note": note.strip()[:500]})
