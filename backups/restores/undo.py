"""Undoing a deletion: for 72 hours its own approval covers a restore of exactly the deleted keys.

The evidence of the deletion says so. Another person than the approver starts it, once. Reappeared keys are left as
they are. It waits until the deletion is proven, because KV may show old values until then, and they would be taken
for existing keys. The stage stays in its state, but is no evidence for another environment any more.

The same holds for the stages whose keys any other restore brings back: they are linked with it, and say so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.cleanup.stages import STAGES, CleanupRefused, insist_idle, insist_names, insist_operator, locked
from backups.models import CleanupEntry, CleanupException, CleanupStage, Generation, Restore, RestoreEntry
from backups.restores.moves import RestoreRefused, move
from backups.restores.selection import seal
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.runs import driver as run_driver
from kvops.wording import say

State = CleanupStage.State
PROVEN = (State.CONFIRMED, State.ACCEPTED)
REASON = gettext_noop("Undo of the deletion, covered by its own approval.")

Outcome = RestoreEntry.Outcome
WRITTEN = (Outcome.WRITTEN, Outcome.DIFFERENT, Outcome.FAILED)
"""Outcomes of names that were written. The write may have been changed since, or may not be visible yet."""


def undo_of(stage: CleanupStage) -> Restore | None:
    """The undo of the stage's deletion, if one was started."""
    return Restore.objects.filter(stage=stage).select_related("run").first()


def until(stage: CleanupStage) -> datetime | None:
    """The end of the undo's approval; None while nothing was deleted."""
    run = stage.run
    if run is None or run.finished_at is None:
        return None
    return run.finished_at + timedelta(seconds=timing.UNDO_WITHIN)


def why_not(stage: CleanupStage) -> str | Promise:
    """The reason why the deletion cannot be undone now, for any person; empty if it can."""
    limit = until(stage)
    if limit is None or stage.deleted == 0:
        return _("Nothing was deleted.")
    if undo_of(stage) is not None:
        return _("The deletion was undone already.")
    if stage.state not in PROVEN:
        return _("KV may still show the keys. Wait for the proof that they are gone; it takes minutes.")
    if clock.seconds_until(limit) <= 0:
        sentence = _("The 72 hours after the deletion are over. Restore the keys from backup %(backup)s.")
        return say(sentence, backup=stage.generation_id)
    if stage.approval is None or "undo" not in json.loads(stage.approval.evidence):
        sentence = _("The approval does not include an undo. Restore the keys from backup %(backup)s.")
        return say(sentence, backup=stage.generation_id)
    return ""


@dataclass(frozen=True)
class Offer:
    """The undo on a page: an existing one, or its time limit and the reason why it is not possible now.

    `over`: too late.
    """

    restore: Restore | None
    until: datetime | None
    over: bool
    why_not: str | Promise


def offer(stage: CleanupStage, person: Person) -> Offer | None:
    """The undo that the person can start; None until a deletion was proven."""
    if stage.state not in PROVEN or not stage.deleted:
        return None
    reason = why_not(stage)
    if not reason and not person.holds(Role.OPERATOR):
        reason = _("You are not an operator.")
    elif not reason and stage.approval and stage.approval.approver_id == person.pk:
        reason = _("You approved this; another person must do it.")
    limit = until(stage)
    return Offer(undo_of(stage), limit, limit is not None and clock.seconds_until(limit) <= 0, reason)


def insist_in_time(stage: CleanupStage) -> None:
    """Raise approval_gate.ApprovalRefused if the approval of the deletion no longer covers an undo."""
    limit = until(stage)
    if limit is None or clock.seconds_until(limit) <= 0:
        raise approval_gate.ApprovalRefused(_("The 72 hours after the deletion are over."))


def start_undo(stage: CleanupStage, *, by: Person) -> Run:
    """Restore the keys that the stage's deletion deleted; the stage keeps its state. Raises CleanupRefused, Refused."""
    with log.transaction():
        mine = locked(stage)
        insist_operator(by)
        if refusal := why_not(mine):
            raise CleanupRefused(refusal)
        approval = _valid_approval(mine, by)
        insist_idle(mine)
        insist_names(mine)
        restore = _restore(mine, by)
        run = run_driver.create(
            Run.Kind.UNDO,
            subject=f"stage:{mine.pk}",
            label=str(mine)[:300],
            actor=by.actor,
            person=by,
            environment=mine.environment,
            approval=approval,
            total=restore.names,
        )
        values: dict[str, object] = {"run": run, "approval": approval, "reason": REASON}
        move(
            restore,
            [Restore.State.PREPARING],
            Restore.State.WRITING,
            Action.RESTORE_STARTED,
            actor=by.actor,
            digest=approval.digest,
            values=values,
        )
        link_deletions(restore)
        record_undo(Action.STAGE_UNDOING, mine, restore, actor=by.actor)
    return run


def _valid_approval(stage: CleanupStage, by: Person) -> ApprovalRequest:
    if stage.approval is None:
        raise CleanupRefused(_("Nothing was deleted."))
    approval = ApprovalRequest.objects.get(pk=stage.approval.pk)
    approval_gate.still_valid(approval)
    if approval.approver_id == by.pk:
        raise CleanupRefused(_("You approved this; another person must do it."))
    return approval


def _restore(stage: CleanupStage, by: Person) -> Restore:
    """The rows of the undo: the stage's names without an exception, from its backup."""
    generation = Generation.objects.select_for_update(of=("self",)).get(stages=stage)
    if generation.status != Generation.Status.VERIFIED:
        raise CleanupRefused(_("The backup is no longer verified. Have it checked before you restore any keys."))
    restore = Restore.objects.create(
        generation=generation,
        environment=stage.environment,
        namespace=stage.namespace,
        stage=stage,
        prefix=stage.request.prefix,
        prepared_by=str(by),
        person=by,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO backups_restoreentry (restore_id, index, name, size, found, outcome, compared)"
            " SELECT %s, row_number() OVER (ORDER BY c.index) - 1, c.name, coalesce(g.size, 0), '', 'planned', ''"
            " FROM backups_cleanupentry c JOIN backups_generationentry g"
            "   ON g.generation_id = %s AND g.name = c.name AND g.outcome = 'kept'"
            " WHERE c.stage_id = %s AND NOT EXISTS (SELECT FROM backups_cleanupexception x"
            "   WHERE x.stage_id = c.stage_id AND x.index = c.index)",
            [restore.pk, generation.pk, stage.pk],
        )
    try:
        seal(restore)
    except RestoreRefused as nothing:
        raise CleanupRefused(_("Nothing was deleted.")) from nothing
    return restore


def record_undo(action: Action, stage: CleanupStage, restore: Restore, *, actor: log.Actor) -> None:
    """One audit entry about the stage, within the open transaction."""
    STAGES.record(
        action,
        stage,
        actor=actor,
        digest=restore.names_sha256,
        details={"restore": restore.pk, "names": restore.names},
    )


def link_deletions(restore: Restore, outcomes: Sequence[str] = Outcome.values) -> None:
    """Link the restore with each stage that deleted one of its names, within the caller's transaction.

    `outcomes` are those of the names that count: all of them at the start, the written ones at the end. An undo has
    its stage already.
    """
    found = _stages(restore, RestoreEntry.objects.filter(restore=restore, outcome__in=outcomes))
    restore.deletions.set(found.exclude(pk=restore.stage_id) if restore.stage_id else found)


def brought_back(restore: Restore) -> QuerySet[CleanupStage]:
    """The stages that deleted a name which the restore, as it was compared with KV, would write."""
    conflicts = RestoreEntry.CONFLICTS if restore.on_conflict == Restore.OnConflict.OVERWRITE else ()
    written = RestoreEntry.objects.filter(restore=restore, found__in=[RestoreEntry.Found.ABSENT, *conflicts])
    return _stages(restore, written).select_related("environment").order_by("pk")


def _stages(restore: Restore, entries: QuerySet[RestoreEntry]) -> QuerySet[CleanupStage]:
    """The stages of the same namespace that deleted a name of these entries."""
    named = entries.filter(name=OuterRef("name"))
    left = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    deleted = CleanupEntry.objects.filter(Exists(named), ~Exists(left), stage=OuterRef("pk"))
    begun = [State.DELETING, State.DELETED, State.CONFIRMED, State.ACCEPTED]
    return CleanupStage.objects.filter(Exists(deleted), namespace=restore.namespace, state__in=begun)
