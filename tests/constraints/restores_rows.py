"""The table's part about restores and undos, and restores in every state."""

from django.db.models import Model
from django.db.models.functions import Now

from backups.models import CleanupEntry, CleanupStage, Generation, Restore, RestoreChunk, RestoreEntry
from kvops.models import ApprovalRequest, Family
from tests.constraints.backups_world import STAGE_PATH, BackupsWorld
from tests.constraints.estate import SHA, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

PATHS = {
    "preparing": (),
    "prepared": ("prepared",),
    "submitted": ("prepared", "submitted"),
    "approved": ("prepared", "submitted", "approved"),
    "writing": ("prepared", "submitted", "approved", "writing"),
    "done": ("prepared", "submitted", "approved", "writing", "done"),
    "ended": ("ended",),
}
CHUNK_PATHS = {"intended": ["intended"], "sent": ["intended", "sent"], "settled": ["settled"]}


def restore(w: BackupsWorld, state: str = "preparing", /, **values: object) -> Restore:
    """A restore in this state, made along the arrows of its docstring."""
    made = {"generation": w.generation(), "environment": w.environment, "namespace": w.namespace, "names_sha256": SHA}
    found = Restore.objects.create(**{**made, **values})
    for step in PATHS[state]:
        move(w, found, step)
    return found


def undo(w: BackupsWorld, *, deleted: str = "a:1", **values: object) -> Restore:
    """An undo whose one name its deletion deleted, ready to be written."""
    stage = CleanupStage.objects.create(request=w.request(), environment=w.environment, namespace=w.namespace, order=1)
    CleanupEntry.objects.create(stage=stage, index=0, name="a:1")
    for step in STAGE_PATH[: STAGE_PATH.index("confirmed") + 1]:
        w.move(stage, step)
    assert stage.run is not None
    change(stage.run, **w.to(type(stage.run), "running"))
    change(stage.run, **w.to(type(stage.run), "succeeded"))
    found = restore(w, generation=stage.generation, stage=stage, **values)
    RestoreEntry.objects.create(restore=found, index=0, name=deleted, size=1)
    return found


def move(w: BackupsWorld, found: Restore, state: str, **values: object) -> None:
    """The restore goes on to this state, with all it needs for that."""
    if state in {"approved", "writing"} and found.approval and not found.stage_id:
        change(found.approval, **w.to(ApprovalRequest, {"writing": "used"}.get(state, state)))
    change(found, state=state, **{**_needed(w, found, state), **values})
    found.refresh_from_db()


def _needed(w: BackupsWorld, found: Restore, state: str) -> dict[str, object]:
    match state:
        case "prepared":
            return {"compared_at": Now(), "approval": None}
        case "submitted":
            asked = w.approval(kind="restore", subject=f"restore:{found.pk}")
            return {"approval": asked, "reason": "no longer needed"}
        case "writing" if found.stage and found.stage.approval:
            run = w.run(**{**w.used(found.stage.approval), "kind": "undo"})
            return {"run": run, "approval": found.stage.approval, "reason": "no longer needed"}
        case "writing" if found.approval:
            return {"run": w.run(**{**w.used(found.approval), "kind": "restore"})}
        case "done" | "ended":
            return {"finished_at": Now()}
    return {}


def entry(w: BackupsWorld, state: str = "preparing") -> RestoreEntry:
    """A name of a restore in this state."""
    found = restore(w)
    made = RestoreEntry.objects.create(restore=found, index=0, name="a:1", size=1)
    for step in PATHS[state]:
        move(w, found, step)
    return made


def chunk(w: BackupsWorld, state: str = "planned", /, **values: object) -> RestoreChunk:
    """A chunk in this state."""
    made = {"restore": restore(w, "writing"), "number": 1, "first_index": 0, "last_index": 9}
    found = RestoreChunk.objects.create(**{**made, **values})
    for step in CHUNK_PATHS.get(state, []):
        change(found, **chunk_to(step))
    found.refresh_from_db()
    return found


def chunk_to(state: str) -> dict[str, object]:
    """What an UPDATE sets to move a chunk to this state."""
    return {"state": state, **({"names_sha256": SHA} if state != "planned" else {})}


def other_request(w: BackupsWorld, **values: object) -> None:
    """A submit with a request that is not quite the restore's."""
    found = restore(w, "prepared")
    asked = w.approval(**{"kind": "restore", "subject": f"restore:{found.pk}", **values})
    change(found, state="submitted", approval=asked, reason="no longer needed")


def by_another_run(w: BackupsWorld) -> None:
    """A start with the run of another restore."""
    found = restore(w, "approved")
    change(found.approval or found, **w.to(ApprovalRequest, "used"))
    change(found, state="writing", run=w.restoring())


def undo_by(w: BackupsWorld, **values: object) -> None:
    """An undo that is written by something else."""
    move(w, undo(w), "writing", **values)


def undo_of(w: BackupsWorld, state: str) -> None:
    """An undo that asks for an approval of its own."""
    change(undo(w), state=state, compared_at=Now())


def of_production(w: BackupsWorld) -> Generation:
    """A verified backup of production's keys."""
    change(w.production, production=True)
    return w.generation(environment=w.production, namespace=w.namespace_of_production)


def taken(w: BackupsWorld, name: str = "b:1") -> Restore:
    """A restore of production's keys into QA, where a rule speaks of those that begin with a:."""
    Family.objects.create(binding="SETTINGS", pattern="a:", category="legacy", qa_may_take=True)
    found = restore(w, generation=of_production(w))
    RestoreEntry.objects.create(restore=found, index=0, name=name, size=1)
    move(w, found, "prepared")
    return found


def rule_withdrawn(w: BackupsWorld) -> None:
    """A start after the rule is gone."""
    found = taken(w, "a:1")
    move(w, found, "submitted")
    move(w, found, "approved")
    Family.objects.update(qa_may_take=False)
    move(w, found, "writing")


def stopped(w: BackupsWorld) -> None:
    """A chunk is meant to be written although somebody pressed the emergency stop."""
    planned = chunk(w)
    w.environment.stops.create(by=w.operator, reason="no longer needed")
    change(planned, **chunk_to("intended"))


FROZEN: dict[str, object] = {
    "id": 0,
    "generation_id": 0,
    "environment_id": 0,
    "namespace_id": 0,
    "stage_id": 0,
    "prefix": "x",
    "listed": True,
    "on_conflict": "overwrite",
    "prepared_by": "x",
    "person_id": 0,
    "created_at": EPOCH,
}
APPROVED_FOR: dict[str, object] = {
    "names": 9,
    "names_sha256": "x",
    "preview_run_id": 0,
    "compared_at": EPOCH,
    "found": {"absent": 9},
    "overwritten": 9,
    "overwritten_sha256": "x",
    "reason": "not read any more",
    "approval_id": 0,
}
RETURNED = {"returned_because", "returned_because_sentence"}
MOVED = {"state", "run_id", "safety_id", "written", "equal", "left", "finished_at", *RETURNED}
OF_A_VERIFIED = "a restore is of a verified backup, into the same binding"
BY_A_RULE = "the keys of production go into another environment by a rule only"
NOT_BY_THIS_REQUEST = "a restore is not % by this request"
UNDO_BY = "an undo is written by a run of the approval of its deletion"
NAMES_FROZEN, RESTORED = "the names of a restore are frozen", "the result of a restored name cannot be edited"
CHUNK_RANGE: dict[str, object] = {
    "id": 0,
    "restore_id": 0,
    "number": 2,
    "attempt": 2,
    "first_index": 1,
    "last_index": 8,
}
CHUNK_SET: dict[str, object] = {"names_sha256": "x", "names": 2, "intended_at": EPOCH}


def linked(w: BackupsWorld) -> Model:
    """The link of a restore with a stage whose deleted keys it writes."""
    return Restore.deletions.through.objects.create(restore=restore(w), cleanupstage=w.stage())


RESTORES = [
    RowAttempt("backups_restore_deletion_restore_id_cleanupstage__22628fc6_uniq", lambda w: again(linked(w))),
    *columns("what a restore is of cannot be edited", restore, FROZEN),
    *columns("what a restore was approved for cannot be edited", lambda w: restore(w, "submitted"), APPROVED_FOR),
    *columns("what a restore was approved for cannot be edited", lambda w: restore(w, "writing"), APPROVED_FOR),
    RowAttempt("a restore is never deleted", lambda w: Restore.objects.filter(pk=restore(w).pk)._raw_delete("default")),
    RowAttempt("a restore starts as preparing", lambda w: again(restore(w, "prepared"))),
    RowAttempt(OF_A_VERIFIED, lambda w: restore(w, generation=w.generation("complete")), "not read back"),
    RowAttempt(OF_A_VERIFIED, lambda w: restore(w, namespace=w.namespace_of_production), "of another environment"),
    RowAttempt(BY_A_RULE, lambda w: restore(w, generation=of_production(w)), "no rule"),
    RowAttempt(BY_A_RULE, lambda w: move(w, taken(w), "submitted"), "not of this name"),
    RowAttempt(BY_A_RULE, rule_withdrawn, "not any more"),
    RowAttempt("the run of a restore cannot be replaced", lambda w: change(restore(w, "writing"), run=w.run())),
    RowAttempt("a restore that is over cannot be edited", lambda w: change(restore(w, "done"), written=9), "done"),
    RowAttempt("a restore that is over cannot be edited", lambda w: change(restore(w, "ended"), written=9), "given up"),
    RowAttempt("an undo needs no request of its own", lambda w: undo_of(w, "prepared")),
    RowAttempt(UNDO_BY, lambda w: undo_by(w, run=w.run()), "another run"),
    RowAttempt(UNDO_BY, lambda w: undo_by(w, approval=w.approval("used")), "another approval"),
    RowAttempt(UNDO_BY, lambda w: move(w, restore(w), "writing"), "no undo"),
    RowAttempt("an undo is of what its deletion deleted", lambda w: move(w, undo(w, deleted="a:2"), "writing")),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, subject="restore:0"), "of another restore"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, kind="policy"), "of something else"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, environment=None), "of another environment"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: change(restore(w, "submitted"), state="approved"), "not decided"),
    RowAttempt("a restore is written by the run of its approval", by_another_run),
    RowAttempt("restore_one_per_approval", lambda w: change(restore(w), approval=restore(w, "submitted").approval)),
    RowAttempt("restore_one_per_run", lambda w: change(restore(w), run=restore(w, "writing").run)),
    RowAttempt("restore_one_undo_per_stage", lambda w: again(undo(w))),
    RowAttempt("restore_prepared_was_compared", lambda w: move(w, restore(w), "prepared", compared_at=None), "time"),
    RowAttempt("restore_prepared_was_compared", lambda w: move(w, restore(w, names_sha256=""), "prepared"), "digest"),
    RowAttempt(
        "restore_submitted_has_an_approval", lambda w: move(w, restore(w, "prepared"), "submitted", approval=None)
    ),
    RowAttempt("restore_submitted_has_a_reason", lambda w: move(w, restore(w, "prepared"), "submitted", reason="")),
    RowAttempt("restore_writing_has_a_run", lambda w: move(w, restore(w, "approved"), "writing", run=None)),
    RowAttempt("restore_undo_never_overwrites", lambda w: undo(w, on_conflict="overwrite")),
    RowAttempt("restore_over_has_an_end", lambda w: move(w, restore(w), "ended", finished_at=None), "over"),
    RowAttempt("restore_over_has_an_end", lambda w: change(restore(w), finished_at=Now()), "not over"),
    RowAttempt(NAMES_FROZEN, lambda w: again(entry(w, "prepared"), index=1, name="b"), "one more"),
    RowAttempt(NAMES_FROZEN, lambda w: entry(w, "writing").delete(), "one less"),
    *columns("a name of a restore cannot be edited", entry, {"index": 9, "name": "b", "size": 9, "restore_id": 0}),
    RowAttempt("what a comparison found cannot be edited", lambda w: change(entry(w, "prepared"), found="absent")),
    RowAttempt(RESTORED, lambda w: change(entry(w, "approved"), outcome="written"), "before"),
    RowAttempt(RESTORED, lambda w: change(entry(w, "done"), compared="equal"), "after"),
    RowAttempt("restore_index_once", lambda w: again(entry(w), name="b")),
    RowAttempt("restore_name_once", lambda w: again(entry(w), index=1)),
    RowAttempt("restore_name_is_no_path", lambda w: again(entry(w), index=1, name=".."), ".."),
    RowAttempt("restore_name_is_no_path", lambda w: again(entry(w), index=1, name="."), "."),
    RowAttempt("restore_name_is_no_path", lambda w: again(entry(w), index=1, name=""), "empty"),
    RowAttempt("a chunk of a restore starts as planned", lambda w: chunk(w, state="sent", names_sha256=SHA)),
    RowAttempt("a chunk of a restore is never deleted", lambda w: chunk(w).delete()),
    *columns("the range of a chunk of a restore cannot be edited", chunk, CHUNK_RANGE),
    *columns("what a chunk was meant to write cannot be edited", lambda w: chunk(w, "intended"), CHUNK_SET),
    RowAttempt(
        "a settled chunk of a restore cannot be edited", lambda w: change(chunk(w, "settled"), answer={"done": 1})
    ),
    RowAttempt("nothing is written while the emergency stop is on", stopped),
    RowAttempt("restore_chunk_number_once", lambda w: again(chunk(w))),
    RowAttempt("restore_chunk_intended_names_its_set", lambda w: change(chunk(w), state="intended")),
    RowAttempt("restore_chunk_three_tries", lambda w: chunk(w, attempt=4), "four"),
    RowAttempt("restore_chunk_three_tries", lambda w: chunk(w, attempt=0), "none"),
    RowAttempt("restore_chunk_at_most_1000", lambda w: chunk(w, last_index=1000), "1001"),
    RowAttempt("restore_chunk_at_most_1000", lambda w: chunk(w, last_index=-1), "none"),
]
