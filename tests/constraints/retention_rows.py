"""The table's part about the deletion of copies."""

from django.db.models import Model
from django.db.models.functions import Now

from backups.models import Disposal, DisposalEntry, Generation
from tests.constraints import restores_rows
from tests.constraints.copies import BackupsWorld
from tests.constraints.estate import HOUR, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "reason": "y",
    "generations": 9,
    "objects_total": 9,
    "objects_sha256": "y",
    "requested_by_id": 0,
    "created_at": EPOCH,
}
MOVED = {"state", "approval_id", "run_id", "deleted", "kept", "finished_at", "ended_because"}
ENTRY_FROZEN: dict[str, object] = {
    "id": 0,
    "disposal_id": 0,
    "index": 9,
    "generation_id": 0,
    "due_at": EPOCH,
    "newer": [9],
    "objects_total": 9,
    "objects_sha256": "y",
}
ENTRY_MOVED = {"outcome", "because"}


def entry(w: BackupsWorld, state: str = "deleting", *, of: Generation | None = None) -> DisposalEntry:
    """The copy of a disposal in this state."""
    return w.disposal(state, of=of).entries.get()


def deleting(w: BackupsWorld, found: Generation, *, disposal: str = "deleting") -> None:
    """The begin of a copy's deletion, with a disposal in this state."""
    w.disposal(disposal, of=found)
    change(found, status="deleting")


def too_young(w: BackupsWorld) -> Model:
    """A copy of yesterday, and a newer one."""
    found = w.generation()
    w.generation()
    return found


def alone(w: BackupsWorld) -> Generation:
    """An old copy without a newer one."""
    found = w.expired()
    Generation.objects.filter(pk__gt=found.pk).update(status="damaged")
    return found


def pinned(w: BackupsWorld) -> Generation:
    """An old copy that somebody pinned."""
    found = w.expired()
    w.pin(generation=found)
    return found


def needed(w: BackupsWorld) -> Generation:
    """An old copy that a restore needs."""
    found = w.expired()
    restores_rows.restore(w, generation=found)
    return found


def cleaned(w: BackupsWorld) -> Generation:
    """An old copy that a clean-up needs."""
    found = w.expired()
    change(w.stage("frozen"), state="backed_up", generation=found)
    return found


def other_request(w: BackupsWorld, **values: object) -> None:
    """A submit with a request that is not quite the disposal's."""
    found = w.disposal()
    asked = w.approval(**{"kind": "delete_generations", "subject": f"disposal:{found.pk}", **values})
    change(found, state="submitted", approval=asked)


def by_another_run(w: BackupsWorld) -> None:
    """A start with a run of something else."""
    found = w.disposal("approved")
    assert found.approval is not None
    change(found.approval, **w.to(type(found.approval), "used"))
    change(found, state="deleting", run=w.run())


EDITED, OVER = "what a disposal is of cannot be edited", "a disposal that is over cannot be edited"
ONCE = "the copies of a disposal are collected once"
GOING = "nothing relies on a copy that is being deleted"
DISPOSALS = [
    RowAttempt("a copy is kept for at least 14 days", lambda w: change(too_young(w), status="deleting"), "young"),
    RowAttempt(
        "a copy is kept for at least 14 days",
        lambda w: change(w.expired(retain_until=Now() + HOUR), status="deleting"),
        "kept for longer",
    ),
    RowAttempt(
        "a copy is deleted by the run of an approved disposal",
        lambda w: change(w.expired(), status="deleting"),
        "without one",
    ),
    *[
        RowAttempt(
            "a copy is deleted by the run of an approved disposal",
            lambda w, state=state: deleting(w, w.expired(), disposal=state),  # type: ignore[misc]
            state,
        )
        for state in ("submitted", "approved", "done", "ended")
    ],
    RowAttempt("a pinned copy is not deleted", lambda w: deleting(w, pinned(w))),
    RowAttempt("a copy that is needed is not deleted", lambda w: deleting(w, needed(w)), "by a restore"),
    RowAttempt("a copy that is needed is not deleted", lambda w: deleting(w, cleaned(w)), "by a clean-up"),
    RowAttempt("the newest verified copy is not deleted", lambda w: deleting(w, alone(w))),
    RowAttempt("generation_deleted_has_a_date", lambda w: change(w.going(), status="deleted"), "no date"),
    RowAttempt("generation_deleted_has_a_date", lambda w: change(w.generation(), deleted_at=Now()), "not deleted"),
    RowAttempt(GOING, lambda w: w.pin(generation=w.going()), "a pin"),
    RowAttempt(GOING, lambda w: restores_rows.restore(w, generation=w.going("deleted")), "a restore"),
    RowAttempt(GOING, lambda w: change(w.stage("frozen"), state="backed_up", generation=w.going()), "a clean-up"),
    RowAttempt(GOING, lambda w: again(w.check(), generation=w.going(), outcome="pending", run=w.run()), "a check"),
    RowAttempt("a disposal starts as collected", lambda w: again(w.disposal("ended"))),
    RowAttempt(
        "a disposal is never deleted", lambda w: Disposal.objects.filter(pk=w.disposal().pk)._raw_delete("default")
    ),
    *columns(EDITED, lambda w: w.disposal(), FROZEN, {"deleted": 0}),
    RowAttempt(EDITED, lambda w: change(w.disposal("submitted"), approval=w.approval()), "approval"),
    RowAttempt(EDITED, lambda w: change(w.disposal("deleting"), run=w.run()), "run"),
    RowAttempt(OVER, lambda w: change(w.disposal("done"), deleted=9), "done"),
    RowAttempt(OVER, lambda w: change(w.disposal("ended"), ended_because="y"), "ended"),
    RowAttempt("a disposal is not % by this request", lambda w: other_request(w, kind="restore"), "kind"),
    RowAttempt("a disposal is not % by this request", lambda w: other_request(w, subject="disposal:0"), "subject"),
    RowAttempt(
        "a disposal is not % by this request", lambda w: other_request(w, environment=w.production), "environment"
    ),
    RowAttempt(
        "a disposal is not % by this request", lambda w: change(w.disposal("submitted"), state="approved"), "pending"
    ),
    RowAttempt("a disposal is done by the run of its approval", by_another_run),
    RowAttempt("disposal_one_open", lambda w: (w.disposal(), w.disposal())),
    RowAttempt("disposal_says_why", lambda w: w.disposal(reason="")),
    RowAttempt("disposal_submitted_has_an_approval", lambda w: change(w.disposal(), state="submitted")),
    RowAttempt(
        "disposal_deleting_has_a_run",
        lambda w: w.dispose(w.disposal("approved"), "deleting", run=None),
    ),
    RowAttempt("disposal_over_has_an_end", lambda w: change(w.disposal(), state="ended"), "no end"),
    RowAttempt("disposal_over_has_an_end", lambda w: change(w.disposal(), finished_at=Now()), "not over"),
    RowAttempt(
        "backups_disposal_approval_id_key", lambda w: change(w.disposal(), approval=w.disposal_of_another().approval)
    ),
    RowAttempt("backups_disposal_run_id_key", lambda w: change(w.disposal(), run=w.disposal_of_another().run)),
    RowAttempt(ONCE, lambda w: again(entry(w, "submitted"), index=1, generation=w.generation()), "later"),
    RowAttempt(
        ONCE, lambda w: again(entry(w, "collected"), index=1, generation=w.generation(), outcome="deleted"), "gone"
    ),
    RowAttempt(
        "a copy of a disposal is never deleted from it",
        lambda w: DisposalEntry.objects.filter(pk=entry(w).pk)._raw_delete("default"),
    ),
    *columns("a copy of a disposal cannot be edited", entry, ENTRY_FROZEN, {"outcome": "kept", "because": "x"}),
    RowAttempt(
        "what became of a copy cannot be edited",
        lambda w: change(entry(w, "approved"), outcome="kept", because="x"),
        "too early",
    ),
    RowAttempt("what became of a copy cannot be edited", lambda w: change(kept(w), because="y"), "again"),
    RowAttempt("a copy that is there is not said to be deleted", lambda w: change(entry(w), outcome="deleted")),
    RowAttempt("disposal_kept_says_why", lambda w: change(entry(w), outcome="kept"), "no reason"),
    RowAttempt("disposal_kept_says_why", lambda w: change(entry(w), because="x"), "not kept"),
    RowAttempt("disposal_index_once", lambda w: again(entry(w, "collected"), generation=w.generation())),
    RowAttempt("disposal_generation_once", lambda w: again(entry(w, "collected"), index=1)),
    RowAttempt(
        "the deletion of copies needs an approval to delete copies of its environment",
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "dispose"}),
    ),
]


def kept(w: BackupsWorld) -> DisposalEntry:
    """A copy that was kept."""
    found = entry(w)
    change(found, outcome="kept", because="x")
    return found
