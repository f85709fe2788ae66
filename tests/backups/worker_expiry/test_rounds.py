"""Rounds of an expiry Worker: asked, allowed or refused, reported, followed by a run, accepted, missing."""

from datetime import timedelta
from pathlib import Path

import pytest

from audit import log
from audit.actions import Action
from audit.models import Entry
from backups.models import WorkerKey, WorkerRound, WorkerRule
from backups.worker_expiry import late, requests as worker_requests, rounds, script
from backups.worker_expiry.refusals import WorkerRefused
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Role, Run
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.worker_expiry import helpers

pytestmark = pytest.mark.django_db


def told() -> set[str]:
    return set(Notification.objects.filter(event=NotificationEvent.WORKER_STOPPED).values_list("title", flat=True))


def test_a_round_is_a_run_that_ends_with_the_last_report(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.ask() == "yes"
    assert worker.followed().is_open
    assert worker.tell(["mastercache:1", "mastercache:2"], ["mastercache:3"]).status_code == 200
    assert worker.end(2, 1).status_code == 200
    run = worker.followed()
    assert (run.state, run.kind, run.approval_id) == ("succeeded", Run.Kind.WORKER_ROUND, worker.approval)
    counts = {"listed_keys": 3, "given_expirations": 2, "skipped_keys": 0, "uncertain_keys": 1}
    assert (run.result, worker.kept.state) == (counts, "given")
    assert set(WorkerKey.objects.values_list("name", "certain")) == {
        ("mastercache:1", True),
        ("mastercache:2", True),
        ("mastercache:3", False),
    }


def test_each_write_carries_the_standing_approval(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    worker.tell(["mastercache:1"])
    entry = Entry.objects.get(action=Action.WORKER_REPORTED)
    assert entry.details["approval"] == worker.approval
    assert entry.digest == ApprovalRequest.objects.get(pk=worker.approval).digest
    carried = Entry.objects.get(action=Action.APPROVAL_CARRIED)
    assert carried.subject == f"approval:{worker.approval}"


def test_a_round_without_a_key_has_nothing_to_give(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    worker.end(0)
    worker.followed()
    assert worker.kept.state == "nothing"
    with pytest.raises(WorkerRefused, match="that gave expirations"):
        rounds.accept(worker.kept, note="no longer needed", by=people.operator)


def withdraw(worker: helpers.SignedWorker, people: make.People) -> None:
    approval_gate.withdraw(ApprovalRequest.objects.get(pk=worker.approval), by=people.operator)


def expire(worker: helpers.SignedWorker, people: make.People) -> None:
    now = clock.now() + timedelta(days=31)
    ApprovalRequest.objects.filter(pk=worker.approval).update(state="expired", reason=f"over at {now}")


def stop(worker: helpers.SignedWorker, people: make.People) -> None:
    emergency.press(worker.rule.namespace.environment, by=people.auditor)


def change_cap(worker: helpers.SignedWorker, people: make.People) -> None:
    WorkerRule.objects.filter(pk=worker.rule.pk).update(cap=99)


def change_cron(worker: helpers.SignedWorker, people: make.People) -> None:
    WorkerRule.objects.filter(pk=worker.rule.pk).update(cron="30 19 * * *")


def retire(worker: helpers.SignedWorker, people: make.People) -> None:
    worker_requests.retire(worker.rule, by=people.operator)


def another_family(worker: helpers.SignedWorker, people: make.People) -> None:
    make.family("mastercache:old:", worker.rule.family.category, expiry="ttl:60")  # type: ignore[arg-type]


def another_design(worker: helpers.SignedWorker, people: make.People) -> None:
    make.change_families("mastercache:", expiry="regenerate")


def lose_role(worker: helpers.SignedWorker, people: make.People) -> None:
    make.revoke(people.reviewer, Role.REVIEWER)


NOES = [withdraw, expire, stop, change_cap, change_cron, retire, another_family, another_design, lose_role]


@pytest.mark.parametrize("event", NOES, ids=lambda event: event.__name__)
def test_a_worker_gets_a_no_and_people_are_told_why(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, event: object
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    event(worker, people)  # type: ignore[operator]
    assert worker.ask() == "no"
    assert (worker.kept.run, worker.kept.state) == (None, "stopped")
    assert worker.kept.shown_reason
    assert len(told()) == 1


@pytest.mark.parametrize("event", NOES, ids=lambda event: event.__name__)
def test_a_round_under_way_gets_a_no_for_its_next_page(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, event: object
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.ask() == "yes"
    event(worker, people)  # type: ignore[operator]
    assert worker.ask() == "no"
    assert worker.kept.shown_reason
    assert worker.followed().state in {"failed", "stopped"}


def test_a_stopped_run_ends_its_round(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    run = worker.kept.run
    assert run is not None
    run_driver.request_stop(run, actor=people.operator.actor)
    assert worker.ask() == "no"


def test_a_worker_with_an_older_configuration_or_script_gets_a_no(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.ask(approval=worker.approval + 1) == "no"
    assert "Deploy the new configuration" in worker.kept.shown_reason
    worker.round = "another"
    assert worker.ask(rule="0" * 64) == "no"
    assert "Deploy the new script" in worker.kept.shown_reason


def test_a_script_of_another_version_of_the_code_gets_a_no(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    deployed = script.rule_in_script(worker.rule)["digest"]
    newer = tmp_path / "rounds.js"
    newer.write_bytes(script.TEMPLATE.read_bytes() + b"// newer\n")
    monkeypatch.setattr(script, "TEMPLATE", newer)
    worker.approval = helpers.approve(worker.rule, people).pk
    assert worker.ask(rule=deployed) == "no"
    assert "Deploy the new script" in worker.kept.shown_reason
    worker.round = "another"
    assert worker.ask() == "yes"


def test_an_older_approval_counts_until_its_own_end(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    helpers.approve(worker.rule, people, days=60)
    assert worker.ask() == "yes"
    assert worker.kept.approval_id == worker.approval


def test_a_second_round_waits_for_the_first(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.ask() == "yes"
    worker.round = "another"
    assert worker.ask() == "no"


def test_production_needs_an_accepted_round_of_qa(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = helpers.rule(estate.production, people)
    with pytest.raises(WorkerRefused, match="not accepted in QA"):
        worker_requests.ask(production, days=30, by=people.operator)
    helpers.accepted(estate.qa, people, monkeypatch)
    worker = helpers.of(production, helpers.approve(production, people), monkeypatch)
    assert worker.ask() == "yes"


def test_a_rule_that_is_no_longer_accepted_gets_a_no(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers.accepted(estate.qa, people, monkeypatch)
    worker = helpers.worker(estate.production, people, monkeypatch)
    monkeypatch.setattr("backups.worker_expiry.conditions.accepted_round", lambda *_: None)
    assert worker.ask() == "no"
    assert "not accepted in QA" in worker.kept.shown_reason


def test_a_report_counts_once(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    for _ in range(2):
        worker.part = 0
        assert worker.tell(["mastercache:1"]).status_code == 200
    worker.part = 0
    assert worker.tell(["mastercache:2"]).status_code == 409
    assert worker.kept.given == 1


def test_a_report_of_an_unknown_round_is_told(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    assert worker.tell(["mastercache:1"]).status_code == 409
    assert len(told()) == 1


MISFITS: list[tuple[list[str], dict[str, object], str, int]] = [
    (["settings:1", "mastercache:1", "other:1"], {}, "keys of other families: 2", 1),
    (["mastercache:1"], {"approval": 1}, "reported under approval 1", 1),
    ([f"mastercache:{number}" for number in range(102)], {}, "more keys than the cap", 100),
]
"""Given names, other members, the reason, and how many of the names are the rule's and within its cap."""


def left_out() -> object:
    return Entry.objects.get(action=Action.WORKER_REPORTED).details["left_out"]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: misfit[2])
def test_a_report_that_does_not_fit_is_kept_and_fails_the_run(
    estate: make.Estate,
    people: make.People,
    monkeypatch: pytest.MonkeyPatch,
    misfit: tuple[list[str], dict[str, object], str, int],
) -> None:
    given, more, reason, explained = misfit
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    assert worker.tell(given, [], **more).status_code == 200
    assert WorkerKey.objects.filter(name__startswith="mastercache:").count() == explained == WorkerKey.objects.count()
    assert (worker.kept.given, left_out()) == (len(given), len(given) - explained)
    run = worker.followed()
    assert (run.state, run.error_code) == ("failed", "round_failed")
    assert reason in worker.kept.shown_reason
    assert worker.ask() == "no"


def test_a_missing_report_is_noticed_by_the_counts(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    worker.end(1)
    assert "a report is missing" in worker.followed().shown_error


def test_a_silent_worker_fails_its_run(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    heard = clock.now() - timedelta(seconds=timing.WORKER_SILENT + 60)
    WorkerRound.objects.update(heard_at=heard)
    run = worker.followed()
    assert (run.state, run.error_code) == ("failed", "silent")
    assert len(told()) == 1


def test_a_late_report_still_ends_the_round(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    withdraw(worker, people)
    worker.tell(["mastercache:1"])
    assert worker.end(1).status_code == 200
    assert worker.kept.given == 1


def test_a_worker_that_does_not_ask_is_told_once_per_due_time(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    environment, actor = estate.qa.environment, make.SETUP
    late.tell_missing(environment, actor)
    assert not WorkerRound.objects.exists()
    worker.ask()
    worker.end(0)
    worker.followed()
    now = clock.now() + timedelta(days=3)
    assert late.missing(worker.rule, clock.now()) is None
    due = late.missing(worker.rule, now)
    assert due is not None
    assert timedelta(hours=1) <= now - due <= timedelta(hours=25)


def test_a_missing_round_is_kept_with_its_due_time(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker.ask()
    worker.end(0)
    worker.followed()
    due = clock.now()
    monkeypatch.setattr(late, "missing", lambda *_: due)
    with log.transaction():
        late.tell_missing(estate.qa.environment, make.SETUP)
    missing = WorkerRound.objects.get(due_at=due)
    assert "did not ask at its due time" in missing.shown_reason
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ttl": 86_399}, "at least a day"),
        ({"cap": 0}, "1 to 100,000"),
        ({"reason": " "}, "reason"),
        ({"cron": "* * * * *"}, "too often"),
        ({"cron": "0 3 * * 1"}, "weekdays by name"),
        ({"cron": "never"}, "five fields"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(
    estate: make.Estate, people: make.People, values: dict[str, object], reason: str
) -> None:
    with pytest.raises(WorkerRefused) as refused:
        helpers.rule(estate.qa, people, **values)
    assert reason in str(refused.value)


def test_only_a_cache_with_a_ttl_has_a_rule(estate: make.Estate, people: make.People) -> None:
    make.change_families("mastercache:", expiry="regenerate")
    with pytest.raises(WorkerRefused, match="designed with a ttl"):
        helpers.rule(estate.qa, people)


def test_a_change_ends_the_approval(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = helpers.worker(estate.qa, people, monkeypatch)
    worker_requests.change(
        worker.rule, ttl=helpers.TWO_DAYS, cap=5, cron=helpers.DAILY, reason="fewer keys than asked", by=people.operator
    )
    assert ApprovalRequest.objects.get(pk=worker.approval).state == "withdrawn"
