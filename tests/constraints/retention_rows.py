"""The table's part about the deletion of copies."""

from django.db.models import Model
from django.db.models.functions import Now

from backups.models import Disposal, DisposalEntry, Generation
from tests.constraints import restores_rows
from tests.constraints.copies import World
from tests.constraints.estate import HOUR, again, change
from tests.constraints.rows import EPOCH, Row, columns

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


def entry(w: World, state: str = "deleting", *, of: Generation | None = None) -> DisposalEntry:
    """The copy of a disposal in this state."""
    return w.disposal(state, of=of).entries.get()


def deleting(w: World, found: Generation, *, disposal: str = "deleting") -> None:
    """The begin of a copy's deletion, with a disposal in this state."""
    w.disposal(disposal, of=found)
    change(found, status="deleting")


def too_young(w: World) -> Model:
    """A copy of yesterday, and a newer one."""
    found = w.generation()
    w.generation()
    return found


def alone(w: World) -> Generation:
    """An old copy without a newer one."""
    found = w.expired()
    Generation.objects.filter(pk__gt=found.pk).update(status="damaged")
    return found


def pinned(w: World) -> Generation:
    """An old copy that somebody pinned."""
    found = w.expired()
    w.pin(generation=found)
    return found


def needed(w: World) -> Generation:
    """An old copy that a restore needs."""
    found = w.expired()
    restores_rows.restore(w, generation=found)
    return found


def cleaned(w: World) -> Generation:
    """An old copy that a clean-up needs."""
    found = w.expired()
    change(w.stage("frozen"), state="backed_up", generation=found)
    return found


def other_request(w: World, **values: object) -> None:
    """A submit with a request that is not quite the disposal's."""
    found = w.disposal()
    asked = w.approval(**{"kind": "delete_generations", "subject": f"disposal:{found.pk}", **values})
    change(found, state="submitted", approval=asked)


def by_another_run(w: World) -> None:
    """A start with a run of something else."""
    found = w.disposal("approved")
    assert found.approval is not None
    change(found.approval, **w.to(type(found.approval), "used"))
    change(found, state="deleting", run=w.run())


EDITED, OVER = "what a disposal is of cannot be edited", "a disposal that is over cannot be edited"
ONCE = "the copies of a disposal are collected once"
GOING = "nothing relies on a copy that is being deleted"
DISPOSALS = [
    Row("a copy is kept for at least 14 days", lambda w: change(too_young(w), status="deleting"), "young"),
    Row(
        "a copy is kept for at least 14 days",
        lambda w: change(w.expired(retain_until=Now() + HOUR), status="deleting"),
        "kept for longer",
    ),
    Row(
        "a copy is deleted by the run of an approved disposal",
        lambda w: change(w.expired(), status="deleting"),
        "without one",
    ),
    *[
        Row(
            "a copy is deleted by the run of an approved disposal",
            lambda w, state=state: deleting(w, w.expired(), disposal=state),  # type: ignore[misc]
            state,
        )
        for state in ("submitted", "approved", "done", "ended")
    ],
    Row("a pinned copy is not deleted", lambda w: deleting(w, pinned(w))),
    Row("a copy that is needed is not deleted", lambda w: deleting(w, needed(w)), "by a restore"),
    Row("a copy that is needed is not deleted", lambda w: deleting(w, cleaned(w)), "by a clean-up"),
    Row("the newest verified copy is not deleted", lambda w: deleting(w, alone(w))),
    Row("generation_deleted_has_a_date", lambda w: change(w.going(), status="deleted"), "no date"),
    Row("generation_deleted_has_a_date", lambda w: change(w.generation(), deleted_at=Now()), "not deleted"),
    Row(GOING, lambda w: w.pin(generation=w.going()), "a pin"),
    Row(GOING, lambda w: restores_rows.restore(w, generation=w.going("deleted")), "a restore"),
    Row(GOING, lambda w: change(w.stage("frozen"), state="backed_up", generation=w.going()), "a clean-up"),
    Row(GOING, lambda w: again(w.check(), generation=w.going(), outcome="pending", run=w.run()), "a check"),
    Row("a disposal starts as collected", lambda w: again(w.disposal("ended"))),
    Row("a disposal is never deleted", lambda w: Disposal.objects.filter(pk=w.disposal().pk)._raw_delete("default")),
    *columns(EDITED, lambda w: w.disposal(), FROZEN, {"deleted": 0}),
    Row(EDITED, lambda w: change(w.disposal("submitted"), approval=w.approval()), "approval"),
    Row(EDITED, lambda w: change(w.disposal("deleting"), run=w.run()), "run"),
    Row(OVER, lambda w: change(w.disposal("done"), deleted=9), "done"),
    Row(OVER, lambda w: change(w.disposal("ended"), ended_because="y"), "ended"),
    Row("a disposal is not % by this request", lambda w: other_request(w, kind="restore"), "kind"),
    Row("a disposal is not % by this request", lambda w: other_request(w, subject="disposal:0"), "subject"),
    Row("a disposal is not % by this request", lambda w: other_request(w, environment=w.production), "environment"),
    Row("a disposal is not % by this request", lambda w: change(w.disposal("submitted"), state="approved"), "pending"),
    Row("a disposal is done by the run of its approval", by_another_run),
    Row("disposal_one_open", lambda w: (w.disposal(), w.disposal())),
    Row("disposal_says_why", lambda w: w.disposal(reason="")),
    Row("disposal_submitted_has_an_approval", lambda w: change(w.disposal(), state="submitted")),
    Row(
        "disposal_deleting_has_a_run",
        lambda w: w.dispose(w.disposal("approved"), "deleting", run=None),
    ),
    Row("disposal_over_has_an_end", lambda w: change(w.disposal(), state="ended"), "no end"),
    Row("disposal_over_has_an_end", lambda w: change(w.disposal(), finished_at=Now()), "not over"),
    Row("backups_disposal_approval_id_key", lambda w: change(w.disposal(), approval=w.disposal_of_another().approval)),
    Row("backups_disposal_run_id_key", lambda w: change(w.disposal(), run=w.disposal_of_another().run)),
    Row(ONCE, lambda w: again(entry(w, "submitted"), index=1, generation=w.generation()), "later"),
    Row(ONCE, lambda w: again(entry(w, "collected"), index=1, generation=w.generation(), outcome="deleted"), "gone"),
    Row(
        "a copy of a disposal is never deleted from it",
        lambda w: DisposalEntry.objects.filter(pk=entry(w).pk)._raw_delete("default"),
    ),
    *columns("a copy of a disposal cannot be edited", entry, ENTRY_FROZEN, {"outcome": "kept", "because": "x"}),
    Row(
        "what became of a copy cannot be edited",
        lambda w: change(entry(w, "approved"), outcome="kept", because="x"),
        "too early",
    ),
    Row("what became of a copy cannot be edited", lambda w: change(kept(w), because="y"), "again"),
    Row("a copy that is there is not said to be deleted", lambda w: change(entry(w), outcome="deleted")),
    Row("disposal_kept_says_why", lambda w: change(entry(w), outcome="kept"), "no reason"),
    Row("disposal_kept_says_why", lambda w: change(entry(w), because="x"), "not kept"),
    Row("disposal_index_once", lambda w: again(entry(w, "collected"), generation=w.generation())),
    Row("disposal_generation_once", lambda w: again(entry(w, "collected"), index=1)),
    Row(
        "the deletion of copies needs an approval to delete copies of its environment",
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "dispose"}),
    ),
]


def kept(w: World) -> DisposalEntry:
    """A copy that was kept."""
    found = entry(w)
    change(found, outcome="kept", because="x")
    return found
