"""Reappeared keys: looked for after the settle time and after a day, reported, never deleted again.

KV acknowledges a delete when the first of its places has it, and other writers do not know of the deletion. A
reappeared key is reported with its time. It is an alarm until a person noted its origin; until then the stage is no
evidence for the next environment, whose reviewer reads the note.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.cleanup.stages import STAGES, CleanupRefused, insist_operator
from backups.deletion.listing import list_again
from backups.deletion.own_deletions import MAY_BE
from backups.deletion.proof import read_again, tell_reappeared
from backups.execution.live_digests import Frozen, KeyVerdict
from backups.models import CleanupException, CleanupStage, Reappearance, RestoreChunk, RestoreEntry
from kvops import clock, timing
from kvops.cloudflare import CursorRefused, KeyPage
from kvops.connections import clients
from kvops.models import Person, Run
from kvops.names import storable
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done
from kvops.wording import insist_explained

NOTES = (
    gettext_noop("The keys are listed once more after the settle time."),
    gettext_noop("The keys are listed once more after a day."),
)
RESTORED = (RestoreEntry.Outcome.SENT, RestoreEntry.Outcome.WRITTEN, RestoreEntry.Outcome.AGAIN)
"""Outcomes of a restore for written names, including those to be written again because a read did not show them yet."""


def _after() -> tuple[float, float]:
    """Seconds from the proof to each check."""
    return (timing.SETTLE, timing.LATE_CHECK)


def look_again(lease: Lease) -> Again | Done | None:
    """A late check: lists the keys at each due time, and reports those that reappeared."""
    related = ("environment", "namespace", "request__family", "generation")
    stage = CleanupStage.objects.select_related(*related).get(late_run=lease.run)
    cursor = {"look": 0, "page": None, **lease.run.cursor}
    wait = _until(stage, cursor["look"])
    if wait > 0:
        return Again(wait, NOTES[cursor["look"]])
    with clients.reader(stage.environment) as reader:
        while True:
            try:
                page = reader.list_keys(
                    stage.namespace.namespace_id, prefix=stage.request.prefix, cursor=cursor["page"]
                )
            except CursorRefused:
                return list_again(lease, {"look": cursor["look"]})
            there = _gone_among(stage, page)
            if not read_again(stage, there, reader, lease, cursor, keep=partial(_report, stage, lease)):
                return Again()
            cursor.update(page=page.cursor, after=-1)
            with lease.checkpoint(cursor=cursor, note=gettext_noop("Looking for reappeared keys.")):
                pass
            if page.cursor is None:
                return _looked(stage, lease, cursor["look"])
            if lease.tired:
                return Again()


def _until(stage: CleanupStage, look: int) -> float:
    """Seconds until this check is due. A proven stage has its second listing, from which the time counts."""
    proven = stage.second_listing_at or clock.now()
    return clock.seconds_until(proven + timedelta(seconds=_after()[look]))


def _gone_among(stage: CleanupStage, page: KeyPage) -> list[int]:
    """Indexes of listed names that were deleted or absent before, and were not yet found again.

    Names that an undo or another restore wrote back are left out.
    """
    listed = stage.entries.filter(name__in=[key.name for key in page.keys if storable(key.name)])
    stayed = stage.exceptions.filter(outcome__in=CleanupException.LEFTOVERS)
    found = listed.exclude(index__in=stayed.values("index")).exclude(index__in=stage.reappearances.values("index"))
    undone = RestoreEntry.objects.filter(Q(restore__stage=stage) | Q(restore__deletions=stage))
    perhaps = RestoreChunk.objects.filter(
        restore=OuterRef("restore"),
        state=RestoreChunk.State.INTENDED,
        first_index__lte=OuterRef("index"),
        last_index__gte=OuterRef("index"),
    )
    may_be = Q(outcome__in=MAY_BE) & (Q(restore__run__state__in=Run.OPEN) | Exists(perhaps))
    restored = undone.filter(Q(outcome__in=RESTORED) | may_be)
    found = found.exclude(name__in=restored.values("name"))
    return list(found.order_by("index").values_list("index", flat=True))


def _report(stage: CleanupStage, lease: Lease, verdicts: Mapping[Frozen, KeyVerdict]) -> None:
    """Record each key that exists when it is read. A key that is only listed is absent."""
    found = [
        Reappearance(stage=stage, index=entry.index, name=entry.name, same=verdict is KeyVerdict.EQUAL, found_at=Now())
        for entry, verdict in verdicts.items()
        if verdict is not KeyVerdict.ABSENT
    ]
    if not found:
        return
    Reappearance.objects.bulk_create(found)
    STAGES.record(
        Action.KEYS_REAPPEARED,
        stage,
        actor=lease.actor,
        details={"keys": len(found), "with_their_value": sum(one.same for one in found)},
    )


def _looked(stage: CleanupStage, lease: Lease, look: int) -> Again | None:
    following = look + 1
    then: Again | Done
    if following < len(NOTES):
        then = Again(max(_until(stage, following), 0.1), NOTES[following])
    else:
        then = Done({"reappeared": stage.reappearances.count()})
    with lease.checkpoint(then, cursor={"look": following}):
        _tell(stage)
    return None


def _tell(stage: CleanupStage) -> None:
    """Notify once of the reappeared keys that no person has acknowledged, within the open transaction."""
    unseen = stage.reappearances.unseen()
    newest, number = unseen.order_by("-pk").first(), unseen.count()
    if newest is not None:
        tell_reappeared(stage, number, shown="reappeared", occasion=f"up to {newest.pk}")


def acknowledge_reappearances(stage: CleanupStage, *, note: str, last: int, by: Person) -> None:
    """Record a person's note on the reappeared keys up to row `last`, the newest that the person saw.

    Raises CleanupRefused.
    """
    with log.transaction():
        insist_operator(by)
        insist_explained(note, CleanupRefused, _("Describe your findings about the reappeared keys."))
        seen = stage.reappearances.unseen().filter(pk__lte=last)
        changed = seen.update(note=note.strip(), acknowledged_by=by, acknowledged_at=Now())
        if not changed:
            raise CleanupRefused(_("There is nothing new to acknowledge. Load the page again."))
        STAGES.record(
            Action.REAPPEARANCES_ACKNOWLEDGED,
            stage,
            actor=by.actor,
            details={"keys": changed, "note": note[:1000]},
        )
