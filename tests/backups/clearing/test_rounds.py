"""Rounds of a rule: their keys, the backup before the deletion, the proof, and the acceptance."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit import verify
from audit.models import Entry
from backups.clearing import requests as clearing_requests, rounds
from backups.clearing.history import by_month
from backups.clearing.rules import ClearingRefused
from backups.deletion import chunks
from backups.models import CleanupRequest, CleanupStage, Clearing, ClearingRound, Generation
from kvops.approvals import gate as approval_gate
from kvops.inventory.selection import Selection
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Run, Schedule
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.schedules import jobs as schedule_jobs
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.clearing import helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
LATER = 4_000_000_000
NAMES = ("mastercache:a", "mastercache:b", "mastercache:c")


@pytest.fixture
def cache(estate: make.Estate) -> make.Estate:
    """Two keys that never expire and one that does, in each environment."""
    for namespace in (estate.qa, estate.production):
        for name in NAMES[:2]:
            estate.put(namespace, name, name.encode())
        estate.put(namespace, NAMES[2], expiration=LATER)
    cleanup_helpers.scan(estate.qa, estate.production)
    return estate


@pytest.fixture
def rule(cache: make.Estate, people: make.People) -> Clearing:
    """The rule in QA, approved."""
    made = helpers.rule(cache.qa, people)
    helpers.approve(made, people)
    return made


def left(estate: make.Estate, slug: str = "qa") -> list[str]:
    namespace = getattr(estate, slug)
    return [name for name in NAMES if estate.cloudflare.get(namespace.namespace_id, name)]


def told() -> set[tuple[str, str]]:
    found = Notification.objects.filter(event=NotificationEvent.CLEARING_STOPPED)
    return {(one.title, one.lines[0]) for one in found}


def test_a_round_clears_exactly_the_keys_of_its_rule_and_proves_it(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    done = helpers.ran(rule, people)
    assert (done.state, left(cache)) == ("cleared", ["mastercache:c"])
    assert done.stage is not None
    assert (done.stage.state, done.stage.names, done.stage.deleted) == ("confirmed", 2, 2)
    assert done.stage.request.completed_at is not None
    actions = set(Entry.objects.filter(subject=rule.subject).values_list("action", flat=True))
    assert {"clearing.created", "clearing.started", "clearing.cleared"} <= actions
    assert not Run.objects.filter(kind=Run.Kind.LATE_CHECK).exists()


def test_a_round_holds_the_row_of_the_namespace_when_its_deletion_begins(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    with CaptureQueriesContext(connection) as queries:
        helpers.ran(rule, people)
    asked = [query["sql"] for query in queries]
    lock = rf'FROM "kvops_namespace" .*"id" = {cache.qa.pk} .*FOR NO KEY UPDATE$'
    locked = [at for at, sql in enumerate(asked) if re.search(lock, sql)]
    moves = [at for at, sql in enumerate(asked) if sql.startswith('UPDATE "backups_cleanupstage"')]
    [begun] = [at for at in moves if "SET \"state\" = 'deleting'" in asked[at]]
    assert any(max(at for at in moves if at < begun) < at < begun for at in locked)


def test_the_audit_log_has_every_entry_of_a_round(rule: Clearing, people: make.People) -> None:
    done = helpers.ran(rule, people)
    assert done.stage is not None
    assert verify.verify().problems == ()
    asked = Entry.objects.get(subject=f"cleanup:{done.stage.request_id}", action="cleanup.requested")
    assert (asked.actor, asked.details) == (str(people.operator), {"reason": "old pages as agreed", "round": done.pk})


def test_its_backup_has_exactly_these_keys_and_is_verified_and_kept(rule: Clearing, people: make.People) -> None:
    done = helpers.ran(rule, people)
    assert done.stage is not None
    backup = done.stage.generation
    assert backup is not None
    assert list(backup.entries.order_by("index").values_list("name", flat=True)) == list(NAMES[:2])
    assert backup.status == Generation.Status.VERIFIED
    kept = backup.retain_until - backup.started_at
    assert timedelta(days=14) <= kept <= timedelta(days=30)


def test_the_schedule_starts_it_and_knows_its_outcome(rule: Clearing, cache: make.Estate) -> None:
    schedule = rule.schedule
    assert schedule_jobs.fire(schedule.pk, schedule.next_at)
    make.work()
    firing = schedule.firings.get()
    assert (firing.outcome, [run.kind for run in firing.runs.all()]) == ("started", ["clear"])
    assert (ClearingRound.objects.get().state, left(cache)) == ("cleared", ["mastercache:c"])


def test_without_such_keys_there_is_nothing_to_do(cache: make.Estate, people: make.People) -> None:
    made = helpers.rule(cache.qa, people, only=Selection(member="v", equals="9"))
    helpers.approve(made, people)
    done = helpers.ran(made, people)
    assert (done.state, done.stage, left(cache)) == ("nothing", None, list(NAMES))
    assert not CleanupRequest.objects.exists()


def test_a_key_that_changed_after_the_backup_or_got_an_expiration_is_left(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    run = rounds.start(rule, by=people.operator)
    run_driver.drive(run.pk)
    cache.put(cache.qa, "mastercache:a", b"mastercache:a", expiration=LATER)
    make.work()
    done = ClearingRound.objects.get(run=run)
    assert (done.state, left(cache)) == ("cleared", ["mastercache:a", "mastercache:c"])
    assert done.stage is not None
    assert [(one.name, one.outcome) for one in done.stage.exceptions.all()] == [("mastercache:a", "changed")]


def test_over_the_cap_nothing_is_deleted_and_no_call_is_made(cache: make.Estate, people: make.People) -> None:
    made = helpers.rule(cache.qa, people, cap=1)
    helpers.approve(made, people)
    cache.cloudflare.forget()
    done = helpers.ran(made, people)
    assert (done.state, left(cache), list(cache.cloudflare.journal)) == ("stopped", list(NAMES), [])
    sentence = "The rule takes at least 2 keys, more than its cap of 1. Nothing was deleted."
    assert done.shown_reason == sentence
    assert {lines for _title, lines in told()} == {sentence}
    assert not CleanupRequest.objects.exists()


def test_a_backup_that_fails_stops_the_round_and_the_next_one_ends_its_request(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    run = rounds.start(rule, by=people.operator)
    run_driver.drive(run.pk)
    backup = Generation.objects.get().run
    Run.objects.filter(pk=backup.pk).update(state="running", owner="x", lease_until=Now())
    Run.objects.filter(pk=backup.pk).update(
        state="failed", owner="", lease_until=None, error_code="x", error="R2 is away.", finished_at=Now()
    )
    make.work()
    assert ClearingRound.objects.get(run=run).shown_reason == "R2 is away."
    assert left(cache) == list(NAMES)
    again = helpers.ran(rule, people)
    assert (again.state, left(cache)) == ("cleared", ["mastercache:c"])
    ended = CleanupRequest.objects.order_by("pk")[0]
    assert (ended.ended_by, ended.stages.get().state) == (rule.subject, "ended")


def test_a_round_that_cannot_begin_is_kept_and_told_and_shown(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    clearing_requests.change(
        rule, cap=5, expression=helpers.DAILY, zone="Asia/Tokyo", reason="fewer keys than asked", by=people.operator
    )
    schedule = rule.schedule
    assert schedule_jobs.fire(schedule.pk, schedule.next_at)
    sentence = "No standing approval is in force. An operator asks for one, a reviewer decides."
    assert ClearingRound.objects.get().shown_reason == sentence
    assert schedule.firings.get().reason == sentence
    assert told() == {("Could not be started: Scheduled clearing of a cache", sentence)}
    assert left(cache) == list(NAMES)


def test_a_round_that_lost_its_approval_is_ended_by_a_person_and_proven(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    run = rounds.start(rule, by=people.operator)
    while not CleanupStage.objects.filter(state="deleting").exists():
        Run.objects.open().update(wake_at=None)
        for pk in Run.objects.open().values_list("pk", flat=True):
            run_driver.drive(pk)
    approval_gate.withdraw(ApprovalRequest.objects.get(), by=people.operator, reason="not right now")
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, left(cache)) == ("failed", "rights_gone", list(NAMES))
    stage = CleanupStage.objects.get()
    chunks.end_early(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.deleted, stage.skipped, left(cache)) == ("confirmed", 0, 2, list(NAMES))
    done = ClearingRound.objects.get()
    assert done.state == "ended"
    with pytest.raises(ClearingRefused, match="ended early, so it proves nothing"):
        rounds.accept(done, note="no longer needed", by=people.operator)


def test_production_runs_after_the_same_rule_was_accepted_in_qa(cache: make.Estate, people: make.People) -> None:
    made = helpers.rule(cache.production, people)
    with pytest.raises(ClearingRefused, match="is not accepted in QA"):
        clearing_requests.ask(made, days=30, by=people.operator)
    helpers.accepted(cache.qa, people)
    helpers.approve(made, people)
    assert helpers.ran(made, people).state == "cleared"
    assert left(cache, "production") == ["mastercache:c"]


def test_deletions_by_hand_stand_beside_the_scheduled_ones(
    rule: Clearing, cache: make.Estate, people: make.People
) -> None:
    helpers.ran(rule, people)
    cleanup_helpers.scan(cache.qa, cache.production)
    made = cleanup_helpers.asked(people, "mastercache:")
    cleanup_helpers.accepted(made, people)
    assert [(one.by_hand, one.scheduled, one.percent) for one in by_month()] == [(1, 2, 67)]
    assert "67 %" in signed_in(people.auditor).get("/clearing/").text


def test_a_rule_and_its_schedule_end_together(rule: Clearing, people: make.People) -> None:
    clearing_requests.retire(rule, by=people.operator)
    schedule = Schedule.objects.get(subject=rule.subject)
    assert schedule.paused_at is not None
    assert rule.requests.count() == 0
    with pytest.raises(Refused, match="The rule is retired"):
        schedule_jobs.unpause(schedule, by=people.operator)
    with pytest.raises(ClearingRefused, match="The rule is retired"):
        rounds.start(rule, by=people.operator)
