"""The table's part about cases of differences."""

from datetime import date

from django.db.models.functions import Now

from backups.models import Check, DifferenceCase
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import change
from tests.constraints.rows import EPOCH, RowAttempt, columns

FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "dataset_id": 0,
    "source": "y",
    "failed_id": 0,
    "opened_by_id": 0,
    "opened_at": EPOCH,
}
MOVED = {"owner_id", "due", "note", "outcome", "reason", "closed_by_id", "passed_id", "closed_at"}


def check_of(w: BackupsWorld) -> Check:
    """A check of a backup."""
    return Check.objects.create(
        environment=w.environment, dataset=w.dataset(), definition={}, definition_digest="0" * 64, run=w.run()
    )


def case(w: BackupsWorld, **values: object) -> DifferenceCase:
    """An open case."""
    failed = check_of(w)
    made = {"environment": w.environment, "dataset": failed.dataset, "source": "kv", "failed": failed}
    people = {"opened_by": w.operator, "owner": w.other, "due": date(2026, 1, 1)}
    return DifferenceCase.objects.create(**{**made, **people, **values})


def closed(w: BackupsWorld) -> DifferenceCase:
    """A case that an operator closed."""
    return case(w, outcome="d1", closed_by=w.operator, closed_at=Now())


def twice(w: BackupsWorld) -> None:
    """A second open case of the same dataset."""
    case(w, dataset=case(w).dataset)


BY_WHOM = "case_closed_by_a_person_or_a_check"
CASES = [
    *columns("what a case of differences is about cannot be edited", case, FROZEN, {"note": "no longer needed"}),
    RowAttempt("a closed case of differences cannot be edited", lambda w: change(closed(w), note="no longer needed")),
    RowAttempt(
        "a closed case of differences cannot be edited",
        lambda w: change(closed(w), outcome="", closed_by=None, closed_at=None),
        "open again",
    ),
    RowAttempt("a case of differences is never deleted", lambda w: case(w).delete()),
    RowAttempt("case_open_once", twice),
    RowAttempt(BY_WHOM, lambda w: change(case(w), outcome="d1", closed_at=Now()), "by nobody"),
    RowAttempt(BY_WHOM, lambda w: change(case(w), outcome="d1", closed_by=w.operator), "at no time"),
    RowAttempt(BY_WHOM, lambda w: change(case(w), closed_by=w.operator, closed_at=Now()), "without an outcome"),
    RowAttempt(BY_WHOM, lambda w: change(case(w), outcome="passed", closed_at=Now()), "by no check"),
    RowAttempt(
        BY_WHOM,
        lambda w: change(
            case(w), outcome="unexplained", reason="no longer needed", closed_by=w.operator, closed_at=Now()
        ),
        "unexplained",
    ),
    RowAttempt("case_says_why", lambda w: change(case(w), outcome="unexplained")),
    RowAttempt(
        "case_says_why",
        lambda w: change(case(w), outcome="accepted", closed_by=w.operator, closed_at=Now()),
        "accepted",
    ),
]
