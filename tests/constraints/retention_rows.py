"""The table's part about the deletion of backups."""

from django.db.models import Model
from django.db.models.functions import Now

from backups.models import Generation, PruneEntry, PruneRequest
from tests.constraints import restores_rows
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import HOUR, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "reason": "not read any more",
    "generations": 9,
    "objects_total": 9,
    "objects_sha256": "y",
    "requested_by_id": 0,
    "created_at": EPOCH,
}
ENDED = {"finished_at", "ended_because", "ended_because_sentence"}
MOVED = {"state", "approval_id", "run_id", "deleted", "kept", *ENDED}
ENTRY_FROZEN: dict[str, object] = {
    "id": 0,
    "prune_id": 0,
    "index": 9,
    "generation_id": 0,
    "due_at": EPOCH,
    "newer": [9],
    "objects_total": 9,
    "objects_sha256": "y",
}
ENTRY_MOVED = {"outcome", "because", "because_sentence"}


def entry(w: BackupsWorld, state: str = "deleting", *, of: Generation | None = None) -> PruneEntry:
    """The backup of a prune request in this state."""
    return w.prune(state, of=of).entries.get()


def deleting(w: BackupsWorld, found: Generation, *, prune: str = "deleting") -> None:
    """The begin of a backup's deletion, with a prune request in this state."""
    w.prune(prune, of=found)
    change(found, status="deleting")


def too_young(w: BackupsWorld) -> Model:
    """A backup of yesterday, and a newer one."""
    found = w.generation()
    w.generation()
    return found


def alone(w: BackupsWorld) -> Generation:
    """An old backup without a newer one."""
    found = w.expired()
    Generation.objects.filter(pk__gt=found.pk).update(status="damaged")
    return found


def pinned(w: BackupsWorld) -> Generation:
    """An old backup that somebody pinned."""
    found = w.expired()
    w.pin(generation=found)
    return found


def needed(w: BackupsWorld) -> Generation:
    """An old backup that a restore needs."""
    found = w.expired()
    restores_rows.restore(w, generation=found)
    return found


def cleaned(w: BackupsWorld) -> Generation:
    """An old backup that a clean-up needs."""
    found = w.expired()
    change(w.stage("frozen"), state="backed_up", generation=found)
    return found


def other_request(w: BackupsWorld, **values: object) -> None:
    """A submit with a request that is not quite the prune request's."""
    found = w.prune()
    asked = w.approval(**{"kind": "delete_generations", "subject": f"prune:{found.pk}", **values})
    change(found, state="submitted", approval=asked)


def by_another_run(w: BackupsWorld) -> None:
    """A start with a run of something else."""
    found = w.prune("approved")
    assert found.approval is not None
    change(found.approval, **w.to(type(found.approval), "used"))
    change(found, state="deleting", run=w.run())


EDITED, OVER = "what a prune request is of cannot be edited", "a prune request that is over cannot be edited"
ONCE = "the backups of a prune request are collected once"
GOING = "nothing relies on a backup that is being deleted"
PRUNES = [
    RowAttempt("a backup is kept for at least 14 days", lambda w: change(too_young(w), status="deleting"), "young"),
    RowAttempt(
        "a backup is kept for at least 14 days",
        lambda w: change(w.expired(retain_until=Now() + HOUR), status="deleting"),
        "kept for longer",
    ),
    RowAttempt(
        "a backup is deleted by the run of an approved prune request",
        lambda w: change(w.expired(), status="deleting"),
        "without one",
    ),
    *[
        RowAttempt(
            "a backup is deleted by the run of an approved prune request",
            lambda w, state=state: deleting(w, w.expired(), prune=state),  # type: ignore[misc]
            state,
        )
        for state in ("submitted", "approved", "done", "ended")
    ],
    RowAttempt("a pinned backup is not deleted", lambda w: deleting(w, pinned(w))),
    RowAttempt("a backup that is needed is not deleted", lambda w: deleting(w, needed(w)), "by a restore"),
    RowAttempt("a backup that is needed is not deleted", lambda w: deleting(w, cleaned(w)), "by a clean-up"),
    RowAttempt("the newest verified backup is not deleted", lambda w: deleting(w, alone(w))),
    RowAttempt("generation_deleted_has_a_date", lambda w: change(w.going(), status="deleted"), "no date"),
    RowAttempt("generation_deleted_has_a_date", lambda w: change(w.generation(), deleted_at=Now()), "not deleted"),
    RowAttempt(GOING, lambda w: w.pin(generation=w.going()), "a pin"),
    RowAttempt(GOING, lambda w: restores_rows.restore(w, generation=w.going("deleted")), "a restore"),
    RowAttempt(GOING, lambda w: change(w.stage("frozen"), state="backed_up", generation=w.going()), "a clean-up"),
    RowAttempt(GOING, lambda w: again(w.check(), generation=w.going(), outcome="pending", run=w.run()), "a check"),
    RowAttempt("a prune request starts as collected", lambda w: again(w.prune("ended"))),
    RowAttempt(
        "a prune request is never deleted",
        lambda w: PruneRequest.objects.filter(pk=w.prune().pk)._raw_delete("default"),
    ),
    *columns(EDITED, lambda w: w.prune(), FROZEN, {"deleted": 0}),
    RowAttempt(EDITED, lambda w: change(w.prune("submitted"), approval=w.approval()), "approval"),
    RowAttempt(EDITED, lambda w: change(w.prune("deleting"), run=w.run()), "run"),
    RowAttempt(OVER, lambda w: change(w.prune("done"), deleted=9), "done"),
    RowAttempt(OVER, lambda w: change(w.prune("ended"), ended_because="y"), "ended"),
    RowAttempt("a prune request is not % by this request", lambda w: other_request(w, kind="restore"), "kind"),
    RowAttempt("a prune request is not % by this request", lambda w: other_request(w, subject="prune:0"), "subject"),
    RowAttempt(
        "a prune request is not % by this request", lambda w: other_request(w, environment=w.production), "environment"
    ),
    RowAttempt(
        "a prune request is not % by this request", lambda w: change(w.prune("submitted"), state="approved"), "pending"
    ),
    RowAttempt("a prune request is done by the run of its approval", by_another_run),
    RowAttempt("prune_one_open", lambda w: (w.prune(), w.prune())),
    RowAttempt("prune_says_why", lambda w: w.prune(reason="")),
    RowAttempt("prune_submitted_has_an_approval", lambda w: change(w.prune(), state="submitted")),
    RowAttempt(
        "prune_deleting_has_a_run",
        lambda w: w.advance_prune(w.prune("approved"), "deleting", run=None),
    ),
    RowAttempt("prune_over_has_an_end", lambda w: change(w.prune(), state="ended"), "no end"),
    RowAttempt("prune_over_has_an_end", lambda w: change(w.prune(), finished_at=Now()), "not over"),
    RowAttempt(
        "backups_prunerequest_approval_id_key", lambda w: change(w.prune(), approval=w.prune_of_another().approval)
    ),
    RowAttempt("backups_prunerequest_run_id_key", lambda w: change(w.prune(), run=w.prune_of_another().run)),
    RowAttempt(ONCE, lambda w: again(entry(w, "submitted"), index=1, generation=w.generation()), "later"),
    RowAttempt(
        ONCE, lambda w: again(entry(w, "collected"), index=1, generation=w.generation(), outcome="deleted"), "gone"
    ),
    RowAttempt(
        "a backup of a prune request is never deleted from it",
        lambda w: PruneEntry.objects.filter(pk=entry(w).pk)._raw_delete("default"),
    ),
    *columns("a backup of a prune request cannot be edited", entry, ENTRY_FROZEN, {"outcome": "kept", "because": "x"}),
    RowAttempt(
        "the result of a backup cannot be edited",
        lambda w: change(entry(w, "approved"), outcome="kept", because="no longer needed"),
        "too early",
    ),
    RowAttempt(
        "the result of a backup cannot be edited", lambda w: change(kept(w), because="not read any more"), "again"
    ),
    RowAttempt("a backup that is there is not said to be deleted", lambda w: change(entry(w), outcome="deleted")),
    RowAttempt("prune_kept_says_why", lambda w: change(entry(w), outcome="kept"), "no reason"),
    RowAttempt("prune_kept_says_why", lambda w: change(entry(w), because="no longer needed"), "not kept"),
    RowAttempt("prune_index_once", lambda w: again(entry(w, "collected"), generation=w.generation())),
    RowAttempt("prune_generation_once", lambda w: again(entry(w, "collected"), index=1)),
    RowAttempt(
        "the deletion of backups needs an approval to delete backups of its environment",
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "prune"}),
    ),
]


def kept(w: BackupsWorld) -> PruneEntry:
    """A backup that was kept."""
    found = entry(w)
    change(found, outcome="kept", because="no longer needed")
    return found
