"""The table's part about investigations and the approvals under which their backups go."""

from datetime import timedelta

from django.db.models import F, Value
from django.db.models.functions import Now

from backups.models import Generation, Investigation
from kvops.models import ApprovalRequest, Run
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.drills_rows import standing
from tests.constraints.estate import change
from tests.constraints.rows import EPOCH, RowAttempt, columns

DAY = Value(timedelta(days=1))

FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "title": "y",
    "reason": "not read any more",
    "generation_id": 0,
    "asked_by_id": 0,
    "created_at": EPOCH,
    "ends_at": EPOCH,
}
MOVED = {"closed_at", "closed_by_id", "closed_because", "run_id", "over_at"}


def backed_up(w: BackupsWorld, **values: object) -> Generation:
    """A verified backup that was made for an investigation."""
    return w.generation(**{"purpose": "investigation", "category": "cache", **values})


def investigation(w: BackupsWorld, **values: object) -> Investigation:
    """An open investigation."""
    made = {"environment": w.environment, "title": "x", "reason": "no longer needed", "asked_by": w.operator}
    if "generation" not in values:
        values["generation"] = backed_up(w)
    return Investigation.objects.create(**{**made, "ends_at": Now() + timedelta(days=7), **values})


def closed(w: BackupsWorld) -> Investigation:
    """One that was closed."""
    made = investigation(w)
    change(made, **closing(w))
    return made


def closing(w: BackupsWorld) -> dict[str, object]:
    """What closes one."""
    return {"closed_at": Now(), "closed_by": w.operator, "closed_because": "x"}


def asked(w: BackupsWorld, made: Investigation, state: str = "approved", /, **values: object) -> ApprovalRequest:
    """The request for its end in this state."""
    return standing(w, state, **{"kind": "investigation", "subject": made.subject, **values})


def ending(w: BackupsWorld, made: Investigation, state: str = "approved", /, **values: object) -> Run:
    """The run that deletes its backup, at work."""
    carried = {**w.used(asked(w, made, state)), "kind": "prune_investigation", "started_by": None}
    return w.run("running", **{**carried, **values})


def going(w: BackupsWorld, made: Investigation) -> None:
    """The begin of the deletion of its backup."""
    change(made, run=ending(w, made))
    change(made.generation, status="deleting")


def begun_again(w: BackupsWorld) -> None:
    """Another run for the same investigation."""
    made = closed(w)
    going(w, made)
    change(made, run=None)


def another_run(w: BackupsWorld) -> None:
    """Another one instead of the run that is at work."""
    made = closed(w)
    going(w, made)
    change(made, run=ending(w, closed(w)))


def by_the_run_of_another(w: BackupsWorld) -> None:
    """A deletion by the run of another investigation."""
    made = closed(w)
    change(made, run=ending(w, closed(w)))
    change(made.generation, status="deleting")


def withdrawn(w: BackupsWorld) -> None:
    """A deletion under an approval that was taken back meanwhile."""
    made = closed(w)
    run = ending(w, made)
    change(made, run=run)
    change(ApprovalRequest.objects.get(subject=made.subject), state="withdrawn")
    change(made.generation, status="deleting")


def same_run(w: BackupsWorld) -> None:
    """Two investigations with one run."""
    first, second = closed(w), closed(w)
    run = ending(w, first)
    change(first, run=run)
    change(second, run=run)


NEEDS = "the backup of an investigation goes under an approval that stands for it, by another person"
GOES = "the backup of an investigation is deleted at its end, by the run of its approval"
EDITED = "what an investigation is of cannot be edited"
THIRTY = "investigation_ends_within_30_days"
BY_WHOM = "investigation_closed_by_whom_and_why"
OWN = "an investigation has a backup of its own"
INVESTIGATIONS = [
    RowAttempt("investigation_has_a_name", lambda w: investigation(w, title=""), "no name"),
    RowAttempt("investigation_has_a_name", lambda w: investigation(w, reason=""), "no reason"),
    RowAttempt(THIRTY, lambda w: investigation(w, ends_at=Now() + 31 * timedelta(days=1)), "longer"),
    RowAttempt(THIRTY, lambda w: investigation(w, ends_at=Now() - DAY), "over before it began"),
    RowAttempt(BY_WHOM, lambda w: change(investigation(w), **{**closing(w), "closed_by": None}), "nobody"),
    RowAttempt(BY_WHOM, lambda w: change(investigation(w), **{**closing(w), "closed_because": ""}), "no reason"),
    RowAttempt(BY_WHOM, lambda w: change(investigation(w), closed_because="x"), "not closed"),
    RowAttempt("an investigation starts open", lambda w: investigation(w, **closing(w))),
    RowAttempt(OWN, lambda w: investigation(w, generation=w.generation()), "a routine backup"),
    RowAttempt(OWN, lambda w: investigation(w, environment=w.production), "another environment"),
    *columns(EDITED, investigation, FROZEN),
    RowAttempt(EDITED, lambda w: change(closed(w), closed_because="y"), "why it was closed"),
    RowAttempt(EDITED, lambda w: change(closed(w), closed_at=F("closed_at") - DAY), "when it was closed"),
    RowAttempt(EDITED, begun_again, "its run"),
    RowAttempt(EDITED, another_run, "its run at work"),
    RowAttempt("an investigation whose backup is there is not over", lambda w: change(closed(w), over_at=Now())),
    RowAttempt(
        "an investigation is never deleted", lambda w: Investigation.objects.filter(pk=investigation(w).pk).delete()
    ),
    RowAttempt(
        "backups_investigation_generation_id_key",
        lambda w: investigation(w, generation=investigation(w).generation),
    ),
    RowAttempt("backups_investigation_run_id_key", same_run),
    RowAttempt("the backup of an investigation is not pinned", lambda w: w.pin(generation=backed_up(w))),
    RowAttempt(GOES, lambda w: going(w, investigation(w)), "too early"),
    RowAttempt(GOES, lambda w: change(closed(w).generation, status="deleting"), "no run"),
    RowAttempt(GOES, by_the_run_of_another, "the run of another"),
    RowAttempt(GOES, withdrawn, "withdrawn"),
    RowAttempt(NEEDS, lambda w: ending(w, closed(w), "pending"), "pending"),
    RowAttempt(NEEDS, lambda w: ending(w, closed(w), subject="investigation:0"), "another subject"),
    RowAttempt(NEEDS, lambda w: ending(w, closed(w), environment=None), "another environment"),
    RowAttempt(NEEDS, lambda w: ending(w, closed(w), started_by=w.reviewer), "by who approved"),
    RowAttempt(
        NEEDS,
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "prune_investigation"}),
        "approval of something else",
    ),
]
