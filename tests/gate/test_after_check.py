"""After a clean-up its backup and its dataset are compared with D1 again: an acceptance waits only for one at work."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from audit import log
from audit.models import Entry as AuditEntry
from backups.cleanup import after_check, completion
from backups.cleanup.stages import CleanupRefused
from backups.integrity import start as check_start
from backups.integrity.start import CheckRefused
from backups.models import Check, CleanupRequest, CleanupStage, Dataset, Generation
from kvops.models import Category, Environment, Notification, NotificationEvent, Run
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.prepared import Prepared

pytestmark = pytest.mark.django_db
State = CleanupStage.State


@pytest.fixture
def proven(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """QA; its names are gone."""
    return prepared.step("proven", lambda: gate.proven(gate.started(world, request_)))


def start(stage: CleanupStage, world: GateWorld) -> dict[str, Any]:
    """The new columns of the stage, written as the proof does."""
    with log.transaction():
        found = after_check.start(stage, actor=world.people.operator.actor, person=world.people.operator)
    CleanupStage.objects.filter(pk=stage.pk).update(**found)
    return dict(found)


def now(stage: CleanupStage) -> CleanupStage:
    return gate.stage_of(stage.request, stage.environment.slug)


def masters(environment: Environment, **values: object) -> Generation:
    """A verified backup of the master data of an environment, with the rows of the dataset."""
    number = Generation.objects.count()
    found = Generation.objects.create(
        environment=environment, namespace=environment.namespaces.get(), prefixes=[], category="legacy",
        purpose="masters", source="D1", actor="tests", bucket=environment.r2_bucket,
        endpoint=environment.r2_endpoint, account_id=environment.account_id, stem=f"backups/masters/{number}",
        run=gate.over(Run.Kind.BACKUP, f"masters:{number}", environment), retain_until=Now() + timedelta(days=30),
        tables=[{"dataset": "masters"}],
    )  # fmt: skip
    over = {"status": "verified", "finished_at": Now(), "verified_at": Now(), "digest_root": "4" * 64}
    gate.tampered(found, manifest_sha256="5" * 64, **{**over, **values})
    found.refresh_from_db()
    return found


def finished(check: Check, outcome: str = "passed", differences: int = 0) -> None:
    """The check came to this result, and its run ends."""
    Check.objects.filter(pk=check.pk).update(outcome=outcome, differences=differences, finished_at=Now())
    gate.tampered(check.run, state="succeeded", finished_at=Now())
    with log.transaction():
        after_check.check_finished(check.run)


def again(world: GateWorld, generation: Generation, dataset: Dataset | None = None) -> Check:
    """The same comparison, started by a person."""
    with log.transaction():
        return check_start.create_check(
            generation, dataset=dataset, subject=f"again:{Check.objects.count()}", actor=world.people.operator.actor
        )


# Which comparisons are started


def test_the_backup_is_compared_again_by_a_run_of_its_own(world: GateWorld, proven: CleanupStage) -> None:
    found = start(proven, world)
    assert set(found) == {"check_after"}
    check, operator = found["check_after"], world.people.operator
    assert (check.generation, check.outcome, check.dataset.name) == (proven.generation, "pending", "masters")
    assert (check.run.subject, check.run.state) == (f"stage:{proven.pk}/check", "queued")
    assert (check.run.started_by, check.run.actor) == (operator, operator.actor.text)
    assert AuditEntry.objects.get(action="check.started", subject=f"check:{check.pk}").actor_id == operator.pk


def test_the_newest_backup_of_master_data_is_compared_too(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    newest = masters(proven.environment)
    check, operator = start(proven, world)["dataset_check_after"], world.people.operator
    assert (check.generation, check.dataset.name) == (newest, "masters")
    assert (check.run.subject, check.run.started_by) == (f"stage:{proven.pk}/dataset", operator)
    assert check.run.actor == operator.actor.text


UNFIT: dict[str, dict[str, object]] = {
    "not verified": {"status": "complete"},
    "in another bucket": {"bucket": "elsewhere"},
    "of other rows": {"tables": [{"dataset": "clinics"}]},
    "of keys": {"purpose": "routine", "source": ""},
}


@pytest.mark.parametrize("what", UNFIT)
def test_master_data_is_no_source_if_it_is(world: GateWorld, proven: CleanupStage, what: str) -> None:
    masters(proven.environment, **UNFIT[what])
    assert set(start(proven, world)) == {"check_after"}


def test_master_data_of_another_environment_is_no_source(world: GateWorld, proven: CleanupStage) -> None:
    masters(world.production.environment)
    assert set(start(proven, world)) == {"check_after"}


def test_keys_without_a_dataset_are_not_compared_with_one(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    Dataset.objects.update(prefix="other:")
    found = start(proven, world)
    assert set(found) == {"after_refused", "after_refused_sentence"}
    assert "No single dataset covers master:*" in found["after_refused"]


def test_a_comparison_that_cannot_begin_leaves_its_reason(
    world: GateWorld, proven: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CheckRefused("w" * 1200)

    monkeypatch.setattr(check_start, "create_check", refuse)
    assert start(proven, world) == {"after_refused": "w" * 1000, "after_refused_sentence": {}}


def test_without_a_backup_only_the_dataset_is_compared(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    proven.generation = None
    assert set(start(proven, world)) == {"dataset_check_after"}


def test_keys_that_are_not_in_d1_are_not_compared(world: GateWorld, proven: CleanupStage) -> None:
    proven.request.category = Category.CACHE
    assert (start(proven, world), list(after_check.results(proven))) == ({}, [])


# What is shown, and what an acceptance waits for


@pytest.mark.parametrize("state", State)
def test_a_stage_has_results_from_its_proof_on(proven: CleanupStage, state: CleanupStage.State) -> None:
    proven.state = state
    found = [one.code for one in after_check.results(proven)]
    assert found == (["backup", "dataset"] if state in {"confirmed", "accepted"} else [])


REASONS: dict[str, tuple[dict[str, object], str, str, bool, tuple[bool, bool]]] = {
    "refused": ({"after_refused": "No database."}, "No database.", after_check.NO_DATASET, True, (False, False)),
    "proven before the rule": ({}, after_check.BEFORE_THIS_RULE, after_check.NO_DATASET, False, (False, False)),
    "no keys": ({"names": 0}, after_check.NO_BACKUP, after_check.NO_KEYS, False, (True, True)),
    "no keys, refused": ({"names": 0, "after_refused": "No."}, "No.", after_check.NO_KEYS, True, (False, True)),
}


@pytest.mark.parametrize("what", REASONS)
def test_a_missing_comparison_says_why(proven: CleanupStage, what: str) -> None:
    values, why, of_dataset, unfinished, not_applicable = REASONS[what]
    for name, value in values.items():
        setattr(proven, name, value)
    backup, dataset = after_check.results(proven)
    assert (backup.check, backup.missing, backup.refused, backup.unfinished) == (None, why, unfinished, unfinished)
    assert (dataset.check, dataset.missing, dataset.unfinished) == (None, of_dataset, False)
    assert (backup.not_applicable, dataset.not_applicable) == not_applicable


@pytest.mark.parametrize(("production", "why"), [(False, after_check.NOT_EXPORTED), (True, after_check.NO_DATASET)])
def test_a_dataset_file_is_wanted_only_in_production(
    world: GateWorld, proven: CleanupStage, why: str, *, production: bool
) -> None:
    start(proven, world)
    found = now(proven)
    found.environment.production = production
    _backup, dataset = after_check.results(found)
    assert (dataset.missing, dataset.not_applicable) == (why, not production)


def test_a_comparison_shows_its_check_and_no_reason(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    start(proven, world)
    proven = now(proven)
    proven.after_refused, proven.names = "earlier", 0
    backup, dataset = after_check.results(proven)
    titles = ("Compare the backup with D1 again", "Compare the dataset with D1 again")
    assert (str(backup.title), str(dataset.title)) == titles
    assert (backup.check, backup.missing, backup.refused) == (proven.check_after, "", False)
    assert (dataset.check, dataset.missing, dataset.refused) == (proven.dataset_check_after, "", False)
    assert backup.unfinished
    assert dataset.unfinished
    assert not backup.not_applicable
    assert not dataset.not_applicable


@pytest.mark.parametrize(
    ("outcome", "differs", "unfinished"), [("pending", False, True), ("passed", False, False), ("failed", True, False)]
)
def test_a_result_differs_or_is_unfinished(outcome: str, *, differs: bool, unfinished: bool) -> None:
    found = after_check.AfterCheck("backup", "x", Check(outcome=outcome))
    assert (found.differs, found.unfinished) == (differs, unfinished)
    assert not after_check.AfterCheck("backup", "x", None).differs


def test_an_acceptance_waits_for_the_run_that_is_at_work(world: GateWorld, proven: CleanupStage) -> None:
    assert after_check.open_run(proven) is None
    masters(proven.environment)
    start(proven, world)
    backup, dataset = now(proven).check_after, now(proven).dataset_check_after
    assert backup
    assert dataset
    assert after_check.open_run(now(proven)) == backup.run
    finished(backup)
    assert after_check.open_run(now(proven)) == dataset.run
    finished(dataset)
    assert after_check.open_run(now(proven)) is None
    assert str(after_check.wait_for(dataset.run)) == (
        f"Wait for the comparison with D1 after the deletion (run {dataset.run_id}), or stop it first."
    )


def test_meanwhile_an_acceptance_is_refused_with_the_run(world: GateWorld, proven: CleanupStage) -> None:
    run = start(proven, world)["check_after"].run
    with pytest.raises(CleanupRefused) as refused:
        completion.accept_stage(now(proven), note="no longer needed", by=world.people.operator)
    assert str(refused.value) == str(after_check.wait_for(run))


def test_the_differences_of_both_comparisons_are_counted(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    start(proven, world)
    backup, dataset = now(proven).check_after, now(proven).dataset_check_after
    assert backup
    assert dataset
    gate.tampered(backup, differences=4)  # so far
    assert after_check.differences(now(proven)) == 0
    finished(backup, "failed", 2)
    assert after_check.differences(now(proven)) == 2
    finished(dataset, "failed", 3)
    assert after_check.differences(now(proven)) == 5


# The result


def told() -> list[Notification]:
    return list(Notification.objects.filter(event=NotificationEvent.STAGE_DIFFERS))


def test_a_result_is_recorded_under_the_stage(world: GateWorld, proven: CleanupStage) -> None:
    check = start(proven, world)["check_after"]
    finished(check)
    entry = AuditEntry.objects.get(action="stage.checked_again")
    assert (entry.subject, entry.actor_id) == (f"stage:{proven.pk}", world.people.operator.pk)
    assert (entry.actor, entry.digest) == (world.people.operator.actor.text, check.definition_digest)
    assert entry.details == {"check": check.pk, "of": "backup", "outcome": "passed", "differences": 0}
    assert told() == []


@pytest.mark.parametrize(
    ("differences", "title"),
    [(1, "1 difference with D1 after the clean-up"), (1200, "1,200 differences with D1 after the clean-up")],
)
def test_a_difference_is_told(world: GateWorld, proven: CleanupStage, differences: int, title: str) -> None:
    Environment.objects.update(slack="env:SLACK")
    check = start(proven, world)["check_after"]
    finished(check, "failed", differences)
    messages = told()
    assert world.people.operator in [message.person for message in messages]
    for message in messages:
        assert (message.subject, message.occasion) == (f"stage:{proven.pk}", f"check {check.pk}")
        assert (message.environment, message.link) == (proven.environment, f"/integrity/{check.pk}/")
        assert message.title == f"{proven}: {title}"
        assert message.lines == [
            f"Source: {check.source}",
            "The keys stay deleted. See each difference, find its cause, and note it when you accept the stage.",
        ]


def test_the_result_of_the_dataset_is_recorded_as_such(world: GateWorld, proven: CleanupStage) -> None:
    masters(proven.environment)
    finished(start(proven, world)["dataset_check_after"])
    assert AuditEntry.objects.get(action="stage.checked_again").details["of"] == "dataset"


def test_a_newer_result_of_the_same_source_replaces_the_earlier(world: GateWorld, proven: CleanupStage) -> None:
    check = start(proven, world)["check_after"]
    newer = again(world, check.generation)
    finished(newer, "failed", 1)
    assert (now(proven).check_after, after_check.differences(now(proven))) == (newer, 1)
    assert now(proven).dataset_check_after is None
    finished(check)
    assert now(proven).check_after == newer


def test_a_newer_result_of_the_dataset_replaces_only_the_dataset(world: GateWorld, proven: CleanupStage) -> None:
    data = masters(proven.environment)
    found = start(proven, world)
    newer = again(world, data, Dataset.objects.get())
    finished(newer)
    assert (now(proven).check_after, now(proven).dataset_check_after) == (found["check_after"], newer)


def other_backup(stage: CleanupStage, check: Check) -> None:
    gate.tampered(check, generation=masters(stage.environment))


def other_dataset(_stage: CleanupStage, check: Check) -> None:
    values = {"binding": "OTHER", "database": "MASTERS_D1", "table": "masters", "key": "x:{id}", "fields": {"id": "id"}}
    gate.tampered(check, dataset=Dataset.objects.create(name="others", prefix="x:", **values))


def accepted(stage: CleanupStage, _check: Check) -> None:
    person = stage.request.requested_by
    gate.tampered(stage, state="accepted", accepted_note="x", accepted_by=person, accepted_at=Now())


@pytest.mark.parametrize("change", [other_backup, other_dataset, accepted])
def test_a_result_of_something_else_or_after_the_acceptance_replaces_nothing(
    world: GateWorld, proven: CleanupStage, change: Callable[[CleanupStage, Check], None]
) -> None:
    check = start(proven, world)["check_after"]
    newer = again(world, check.generation)
    change(proven, newer)
    finished(newer)
    assert now(proven).check_after == check
    assert not AuditEntry.objects.filter(action="stage.checked_again").exists()


def test_the_result_after_the_acceptance_is_recorded(world: GateWorld, proven: CleanupStage) -> None:
    check = start(proven, world)["check_after"]
    accepted(proven, check)
    finished(check)
    assert (now(proven).check_after, AuditEntry.objects.filter(action="stage.checked_again").count()) == (check, 1)
