"""The table's part about changes of keys, and changes in every state."""

from django.db.models.functions import Now

from backups.models import KeyChange
from kvops.models import ApprovalRequest
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

PATHS = {
    "draft": (),
    "submitted": ("submitted",),
    "approved": ("submitted", "approved"),
    "writing": ("submitted", "approved", "writing"),
    "done": ("submitted", "approved", "writing", "done"),
    "ended": ("ended",),
}
INTENT: dict[str, object] = {"attempt": 1, "intended_at": Now(), "digest_after": SHA, "digest_key": "k"}


def key_change(w: BackupsWorld, state: str = "draft", /, **values: object) -> KeyChange:
    """A change in this state, made along the arrows of its docstring."""
    made = {
        "environment": w.environment,
        "namespace": w.namespace,
        "name": f"mail:{w.count()}",
        "asked_by": w.operator,
        "bucket": "b",
        "object_key": "proposals/qa/x.json.age",
        "object_sha256": SHA,
        "generation": w.generation(),
    }
    found = KeyChange.objects.create(**{**made, **values})
    for step in PATHS[state]:
        move(w, found, step)
    return found


def move(w: BackupsWorld, found: KeyChange, state: str, **values: object) -> None:
    """The change goes on to this state, with all it needs for that."""
    if state in {"approved", "writing"} and found.approval:
        change(found.approval, **w.to(ApprovalRequest, {"writing": "used"}.get(state, state)))
    change(found, state=state, **{**_needed(w, found, state), **values})
    found.refresh_from_db()


def _needed(w: BackupsWorld, found: KeyChange, state: str) -> dict[str, object]:
    match state:
        case "submitted":
            return {
                "approval": w.approval(kind="put_key", subject=f"keychange:{found.pk}"),
                "reason": "no longer needed",
            }
        case "writing" if found.approval:
            return {"run": w.run(**{**w.used(found.approval), "kind": "change"})}
        case "done":
            return {"finished_at": Now(), "outcome": "written"}
        case "ended":
            return {"finished_at": Now()}
    return {}


def other_request(w: BackupsWorld, **values: object) -> None:
    """A submit with a request that is not quite the change's."""
    found = key_change(w)
    asked = w.approval(**{"kind": "put_key", "subject": f"keychange:{found.pk}", **values})
    change(found, state="submitted", approval=asked, reason="no longer needed")


def by_another_run(w: BackupsWorld) -> None:
    """A start with the run of another change."""
    found = key_change(w, "approved")
    change(found.approval or found, **w.to(ApprovalRequest, "used"))
    change(found, state="writing", run=w.restoring())


def intended_while_stopped(w: BackupsWorld) -> None:
    """A write is intended although somebody pressed the emergency stop."""
    found = key_change(w, "writing")
    w.environment.stops.create(by=w.operator, reason="no longer needed")
    change(found, **INTENT)


def needed_backup_goes(w: BackupsWorld) -> None:
    """A backup that an open change needs is being deleted by an approved prune."""
    backup = w.expired("verified")
    w.prune("deleting", of=backup)
    key_change(w, generation=backup)
    change(backup, status="deleting")


FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "namespace_id": 0,
    "name": "x",
    "new_key": True,
    "asked_by_id": 0,
    "created_at": EPOCH,
    "reverses_id": 0,
    "bucket": "x",
    "object_key": "x",
    "object_sha256": "x",
    "recipients": ["x"],
    "parts": ["value"],
    "expiration_before": 9,
    "expiration_after": 9,
    "warnings": ["x"],
    "generation_id": 0,
}
APPROVED_FOR: dict[str, object] = {
    "reason": "not read any more",
    "repeats_id": 0,
    "no_qa_because": "not read any more",
    "approval_id": 0,
}
RESULT: dict[str, object] = {
    "attempt": 2,
    "digest_before": "x",
    "digest_after": "x",
    "finished_at": EPOCH,
}
MOVED = {
    *("state", "prepare_run_id", "run_id", "ended_because", "ended_because_sentence", "attempt", "digest_key"),
    *("digest_before", "digest_after"),
    *("intended_at", "sent_at", "settled_at", "gap_ms", "outcome", "finished_at", "accepted_at", "accepted_by_id"),
    *("accepted_note", "erase_run_id", "erased_at"),
}
OF, APPROVED = (
    "what a change of a key is of cannot be edited",
    "what a change of a key was approved for cannot be edited",
)
RESULTS = "the result of a change of a key cannot be edited"
NOT_BY_THIS_REQUEST = "a change of a key is not % by this request"
WHOLE = "keychange_asked_for_is_whole"
NEEDS = "a change of a key needs an approval to change a key of its environment"


def writing(w: BackupsWorld) -> KeyChange:
    """A change with an intended write."""
    found = key_change(w, "writing")
    change(found, **INTENT)
    found.refresh_from_db()
    return found


def done(w: BackupsWorld) -> KeyChange:
    """A change that was written."""
    found = writing(w)
    move(w, found, "done")
    return found


CHANGES = [
    RowAttempt("a change of a key is never deleted", lambda w: key_change(w).delete()),
    RowAttempt("a change of a key starts as a draft", lambda w: again(key_change(w, "submitted"), name="other")),
    *columns(OF, key_change, FROZEN),
    *columns(APPROVED, lambda w: key_change(w, "submitted"), APPROVED_FOR),
    RowAttempt(APPROVED, lambda w: change(key_change(w, "writing"), run=w.restoring()), "run"),
    *columns(RESULTS, done, RESULT),
    RowAttempt(RESULTS, lambda w: change(done(w), outcome="failed"), "outcome"),
    RowAttempt(RESULTS, lambda w: change(accepted(w), accepted_note="another"), "accepted"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, subject="keychange:0"), "of another change"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, kind="policy"), "of something else"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: other_request(w, environment=None), "of another environment"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: change(key_change(w, "submitted"), state="approved"), "not decided"),
    RowAttempt("a change of a key is written by the run of its approval", by_another_run),
    RowAttempt("a key is written while its change is being written", lambda w: change(key_change(w), **INTENT)),
    RowAttempt("no key is written while the emergency stop is on", intended_while_stopped),
    RowAttempt("a backup that a change of a key needs is not deleted", needed_backup_goes),
    RowAttempt(NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "change"}), "of something else"),
    RowAttempt(
        NEEDS,
        lambda w: w.run(**{**w.used(w.approval("used", kind="put_key")), "kind": "change", "environment": None}),
        "of another environment",
    ),
    RowAttempt(
        "keychange_one_per_approval",
        lambda w: change(key_change(w), approval=key_change(w, "submitted").approval),
    ),
    RowAttempt("keychange_one_per_run", lambda w: change(key_change(w), run=key_change(w, "writing").run)),
    RowAttempt("keychange_one_open_per_key", lambda w: again(key_change(w))),
    RowAttempt("keychange_name_is_no_path", lambda w: key_change(w, name=".."), ".."),
    RowAttempt("keychange_name_is_no_path", lambda w: key_change(w, name="."), "."),
    RowAttempt("keychange_name_is_no_path", lambda w: key_change(w, name=""), "empty"),
    RowAttempt(WHOLE, lambda w: move(w, key_change(w), "submitted", approval=None), "request"),
    RowAttempt(WHOLE, lambda w: move(w, key_change(w), "submitted", reason=""), "reason"),
    RowAttempt(WHOLE, lambda w: move(w, key_change(w, object_key="", object_sha256=""), "submitted"), "proposal"),
    RowAttempt(WHOLE, lambda w: move(w, key_change(w, generation=None), "submitted"), "backup"),
    RowAttempt("keychange_writing_has_a_run", lambda w: move(w, key_change(w, "approved"), "writing", run=None)),
    RowAttempt("keychange_over_has_an_end", lambda w: move(w, key_change(w), "ended", finished_at=None), "over"),
    RowAttempt("keychange_over_has_an_end", lambda w: change(key_change(w), finished_at=Now()), "not over"),
    RowAttempt("keychange_done_has_an_outcome", lambda w: move(w, writing(w), "done", outcome=""), "none"),
    RowAttempt("keychange_done_has_an_outcome", lambda w: change(key_change(w), outcome="written"), "too early"),
    RowAttempt("keychange_three_tries", lambda w: change(writing(w), attempt=4)),
    RowAttempt("keychange_intended_names_its_digests", lambda w: change(key_change(w, "writing"), attempt=1)),
    RowAttempt("keychange_accepted_by_whom_and_why", lambda w: change(done(w), accepted_at=Now()), "nobody"),
    RowAttempt(
        "keychange_accepted_by_whom_and_why",
        lambda w: change(key_change(w), accepted_at=Now(), accepted_by=w.operator, accepted_note="x"),
        "not written",
    ),
    RowAttempt("keychange_erased_when_over", lambda w: change(key_change(w), erased_at=Now())),
]


def accepted(w: BackupsWorld) -> KeyChange:
    """A written change whose effect a person confirmed."""
    found = done(w)
    change(found, accepted_at=Now(), accepted_by=w.operator, accepted_note="x")
    return found
