"""Each need of a backup holds it: whatever is open keeps the backups that it reads, of both its sides."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.models import (
    Check,
    CleanupRequest,
    CleanupStage,
    Comparison,
    Dataset,
    Drill,
    DrilledBackup,
    Generation,
    KeyChange,
    Restore,
)
from backups.retention import holds, pins
from kvops import timing
from kvops.approvals.evidence import digest_of
from kvops.models import ApprovalRequest, Category, Family, Run
from tests import make
from tests.backups.retention.backups_of_any_age import SHA, backup_of_age

pytestmark = pytest.mark.django_db


def run(estate: make.Estate, state: str = "queued", **values: object) -> Run:
    made = {"kind": "verify", "subject": f"y:{Run.objects.count()}", "label": "y", "actor": "y", "state": state}
    return Run.objects.create(**{**made, **({} if state in Run.OPEN else {"finished_at": Now()}), **values})


def restore(estate: make.Estate, generation: Generation, **values: object) -> Restore:
    with make.past_the_triggers():
        place = {"environment": estate.qa.environment, "namespace": estate.qa}
        return Restore.objects.create(generation=generation, names_sha256=SHA, **place, **values)


def a_pin(estate: make.Estate, people: make.People, old: Generation) -> None:
    pins.pin(old, reason="An audit asks for it", by=people.auditor)


def a_restore(estate: make.Estate, people: make.People, old: Generation) -> None:
    restore(estate, old)


def the_safety_backup(estate: make.Estate, people: make.People, old: Generation) -> None:
    restore(estate, backup_of_age(estate.qa, 2), safety=old)


def a_change(estate: make.Estate, people: make.People, old: Generation) -> None:
    with make.past_the_triggers():
        place = {"environment": estate.qa.environment, "namespace": estate.qa, "name": "a", "asked_by": people.operator}
        KeyChange.objects.create(**place, bucket="b", object_key="proposals/qa/x", object_sha256=SHA, generation=old)


def a_run_about_it(estate: make.Estate, people: make.People, old: Generation) -> None:
    run(estate, subject=f"generation:{old.pk}")


def its_verification(estate: make.Estate, people: make.People, old: Generation) -> None:
    with make.past_the_triggers():
        Generation.objects.filter(pk=old.pk).update(verify_run=run(estate))


def a_check(estate: make.Estate, people: make.People, old: Generation) -> None:
    with make.past_the_triggers():
        dataset = Dataset.objects.create(name="x", binding="SETTINGS", prefix="x:", fields={})
        found = {"environment": old.environment, "dataset": dataset, "definition": {}, "definition_digest": SHA}
        Check.objects.create(**found, generation=old, run=run(estate))


def a_drill(estate: make.Estate, people: make.People, old: Generation) -> None:
    with make.past_the_triggers():
        approval = ApprovalRequest.objects.create(
            kind="drill",
            subject="drill:1",
            title="x",
            evidence="{}",
            digest=digest_of("{}"),
            requester=people.operator,
            decide_by=Now() + timedelta(days=1),
            standing_until=Now() + timedelta(days=30),
        )
        drill = Drill.objects.create(environment=old.environment, approval=approval, run=run(estate), namespace_id="x")
        DrilledBackup.objects.create(drill=drill, generation=old, number=1, keys=0, bytes=0, last_index=0)


def the_other_side_of_a_comparison(estate: make.Estate, people: make.People, old: Generation) -> None:
    earlier = backup_of_age(estate.qa, 500)
    Comparison.objects.create(generation=earlier, other=old, namespace=estate.qa, run=run(estate), actor="y")


NEEDS: dict[str, Callable[[make.Estate, make.People, Generation], None]] = {
    "An audit asks for it": a_pin,
    "Restore": a_restore,
    "Restore %": the_safety_backup,
    "Change": a_change,
    "Run": a_run_about_it,
    "Run %": its_verification,
    "Run %%": a_check,
    "Run %%%": a_drill,
    "Run %%%%": the_other_side_of_a_comparison,
}


@pytest.mark.parametrize("says", NEEDS, ids=[need.__name__ for need in NEEDS.values()])
def test_what_is_open_holds_the_backup_that_it_needs(estate: make.Estate, people: make.People, says: str) -> None:
    old = backup_of_age(estate.qa, 400)
    assert holds.holds_of([old.pk]) == {}
    NEEDS[says](estate, people, old)
    [hold] = holds.holds_of([old.pk])[old.pk]
    assert says.rstrip(" %") in str(hold.text)


def test_what_is_over_holds_no_backup(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 400)
    pin = pins.pin(old, reason="An audit asks for it", by=people.auditor)
    NEEDS["Restore %"](estate, people, old)
    NEEDS["Change"](estate, people, old)
    for need in ("Run", "Run %", "Run %%", "Run %%%", "Run %%%%"):
        NEEDS[need](estate, people, old)
    assert len(holds.holds_of([old.pk])[old.pk]) == len(NEEDS) - 1
    pins.remove(pin, reason="It is over", by=people.auditor)
    with make.past_the_triggers():
        Restore.objects.update(state="ended", finished_at=Now())
        KeyChange.objects.update(state="ended", finished_at=Now())
        Run.objects.filter(state="queued").update(state="succeeded", finished_at=Now())
    assert holds.holds_of([old.pk]) == {}


NEEDED = {"frozen_at": Now(), "names_sha256": SHA, "accepted_note": "x", "empty_reason": "x"}
NEEDED |= {"first_listing_at": Now() - timedelta(seconds=1), "second_listing_at": Now()}
"""What the states of a stage ask for."""


@pytest.mark.parametrize(
    ("stands", "held"),
    [
        ("legacy ready now", True),
        ("legacy ended now", False),
        ("legacy accepted long ago", True),
        ("cache confirmed now", True),
        ("cache confirmed long ago", False),
        ("cache accepted long ago", False),
        ("cache ready long ago", True),
    ],
)
def test_a_clean_up_holds_its_backup_for_good_and_that_of_a_cache_while_it_can_be_undone(
    estate: make.Estate, people: make.People, stands: str, held: bool
) -> None:
    category, state, when = stands.split(" ", 2)
    old = backup_of_age(estate.qa, 400)
    with make.past_the_triggers():
        family = Family.objects.filter(category=Category.LEGACY).first()
        asked = {"family": family, "category": category, "reason": "no longer needed", "requested_by": people.operator}
        request = CleanupRequest.objects.create(binding="B", prefix="p", **asked)
        place = {"environment": estate.qa.environment, "namespace": estate.qa, "order": 1}
        done = {"accepted_by": people.operator, "accepted_at": Now()} if state == "accepted" else {}
        ago = timedelta(seconds=0 if when == "now" else timing.UNDO_WITHIN + 60)
        over = run(estate, "succeeded", finished_at=Now() - ago)
        CleanupStage.objects.create(request=request, state=state, generation=old, run=over, **place, **NEEDED, **done)
    assert (old.pk in holds.holds_of([old.pk])) is held
