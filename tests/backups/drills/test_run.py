"""Drills: the newest copies are written into the scratch namespace, compared and removed, under a standing approval."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from audit.models import Entry as AuditEntry
from backups.drills import requests as drill_requests, run as drill_run
from backups.models import Drill
from backups.retention import holds
from kvops import timing
from kvops.approvals import gate as approval_gate, standing
from kvops.cloudflare import KvEntry
from kvops.cloudflare.writes import KVWriter
from kvops.models import ApprovalRequest, Environment, Notification, NotificationEvent, Role, Run, Scratch
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.deletion import cut_off
from tests.backups.restores import helpers as restore_helpers
from tests.gate.world import past_the_triggers, tampered
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

ODD = ("master:/%?#&+ \n", "master:\u00e9", "master:e\u0301", "master:🦊", f"master:{'x' * 505}")


@pytest.fixture
def scratch(estate: make.Estate) -> Scratch:
    return make.scratch(estate)


@pytest.fixture
def backed_up(estate: make.Estate) -> None:
    entries = [KvEntry(name, bytes([0, 255, n]), None, '{"v":1.0}') for n, name in enumerate(ODD)]
    later = KvEntry("master:later", b"", 4_000_000_000, None)
    restore_helpers.put(estate, estate.qa, *entries, later, KvEntry("master:text", "値".encode(), None, "[1]"))
    restore_helpers.verified_backup(estate.qa)


def allowed(scratch: Scratch, people: make.People, *, cap: int = 1000) -> ApprovalRequest:
    request = drill_requests.ask(scratch.environment, days=30, cap=cap, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return request


def held(scratch: Scratch, estate: make.Estate) -> int:
    return len(list(estate.cloudflare.namespace(scratch.namespace_id).walk("", None)))


def written(drill: Drill) -> None:
    """Steps until the first copy is written."""
    while Run.objects.get(pk=drill.run_id).cursor.get("phase") != "compare":
        Run.objects.filter(pk=drill.run_id).update(wake_at=None)
        run_driver.drive(drill.run_id)


def drilled(drill: Drill) -> Drill:
    make.work()
    drill.refresh_from_db()
    return drill


@pytest.mark.usefixtures("backed_up")
def test_every_key_of_the_newest_backup_is_written_compared_and_removed(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    backup = drill.backups.get()
    assert (drill.passed, backup.compared, backup.differing, backup.problem, backup.good) == (True, 7, 0, "", True)
    written = {name for call in estate.cloudflare.journal for name in call.written}
    assert written == {*ODD, "master:later", "master:text"}
    assert {call.namespace for call in estate.cloudflare.journal if call.written} == {scratch.namespace_id}
    assert held(scratch, estate) == 0


def test_a_drill_takes_no_more_requests_at_a_time_than_the_limit_has(
    scratch: Scratch, people: make.People, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [KvEntry(f"master:{n:02}", bytes([255, n]), None, f"[{n}]") for n in range(25)]
    restore_helpers.put(estate, estate.qa, *entries)
    restore_helpers.verified_backup(estate.qa)
    allowed(scratch, people)
    monkeypatch.setattr(drill_run, "FEW", 10)
    monkeypatch.setattr(timing, "BUDGET_CALLS", 50)  # a read of all, or a write of all, and what it may cost is more
    drill = drill_requests.start(scratch.environment, by=people.operator)
    make.work()
    drill.refresh_from_db()
    assert (drill.passed, drill.backups.get().compared) == (True, 25)


@pytest.mark.usefixtures("backed_up")
def test_a_rule_may_ask_for_less_than_a_whole_backup(scratch: Scratch, people: make.People) -> None:
    allowed(scratch, people, cap=2)
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert (drill.passed, drill.backups.get().keys, drill.backups.get().compared) == (True, 2, 2)


@pytest.mark.usefixtures("backed_up")
def test_a_backup_that_was_damaged_meanwhile_fails_the_drill_and_says_so(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    key = drill.backups.get().generation.parts.get().api_only_key
    estate.s3.objects[key] = estate.s3.objects[key].replace(b"master:text", b"master:tex_")
    backup = drilled(drill).backups.get()
    assert (drill.passed, backup.good) == (False, False)
    assert "does not hold" in backup.problem
    assert held(scratch, estate) == 0


@pytest.mark.usefixtures("backed_up")
def test_a_key_that_kv_holds_otherwise_fails_the_drill(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    written(drill)
    estate.cloudflare.put(scratch.namespace_id, "master:text", b"other")
    backup = drilled(drill).backups.get()
    assert (drill.passed, backup.differing, backup.example) == (False, 1, "master:text")


@pytest.mark.usefixtures("backed_up")
def test_nothing_is_written_where_a_key_lies_that_no_drill_put_there(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    estate.cloudflare.put(scratch.namespace_id, "somebody's", b"work")
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert (drill.run.state, drill.run.error_code, drill.passed) == ("failed", "scratch_not_empty", None)
    assert not [call for call in estate.cloudflare.journal if call.written or call.deleted]


@pytest.mark.usefixtures("backed_up")
def test_what_a_broken_off_drill_left_is_removed_by_the_next(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    first = drill_requests.start(scratch.environment, by=people.operator)
    written(first)
    run_driver.request_stop(first.run, actor=make.SETUP)
    make.work()
    assert held(scratch, estate) == 7
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert (drill.passed, held(scratch, estate)) == (True, 0)


@pytest.mark.usefixtures("backed_up")
def test_a_key_that_is_never_written_everywhere_is_not_written_for_ever(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    estate.cloudflare.fault("bulk_put", "partial", times=1000, names=["master:later"])
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert (drill.run.state, drill.run.error_code) == ("failed", "gave_up")
    assert drill.run.error.endswith("1 key may not have been written.")
    assert len(estate.cloudflare.calls("bulk_put")) == run_driver.MAX_TRIES + 1


@pytest.mark.usefixtures("backed_up")
@pytest.mark.parametrize("phase", ["write", "remove"])
def test_a_drill_whose_writer_cannot_connect_gives_up(
    scratch: Scratch, people: make.People, estate: make.Estate, phase: str
) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    if phase == "remove":
        written(drill)
    with cut_off.writers():
        drilled(drill)
    run = Run.objects.get(pk=drill.run_id)
    assert (run.state, run.error_code, run.cursor["phase"]) == ("failed", "gave_up", phase)
    run_driver.resume(run, actor=people.operator.actor)
    assert drilled(drill).passed


# The approval


@pytest.mark.usefixtures("backed_up")
def test_without_an_approval_that_stands_nothing_starts(scratch: Scratch, people: make.People) -> None:
    with pytest.raises(approval_gate.ApprovalRefused, match="No standing approval is in force"):
        drill_requests.start(scratch.environment, by=people.operator)
    request = drill_requests.ask(scratch.environment, days=1, cap=10, by=people.operator)
    with pytest.raises(approval_gate.ApprovalRefused, match="No standing approval is in force"):
        drill_requests.start(scratch.environment, by=people.operator)
    with pytest.raises(approval_gate.ApprovalRefused, match="Only a reviewer can decide"):
        approval_gate.approve(request, by=people.operator, shown=request.digest)


@pytest.mark.usefixtures("backed_up")
def test_one_approval_carries_drill_after_drill(scratch: Scratch, people: make.People) -> None:
    request = allowed(scratch, people)
    for _ in range(2):
        drilled(drill_requests.start(scratch.environment, by=people.operator))
    request.refresh_from_db()
    assert (request.state, Drill.objects.filter(approval=request, passed=True).count()) == ("approved", 2)
    assert AuditEntry.objects.filter(action=Action.APPROVAL_CARRIED, digest=request.digest).count() == 2


CHANGES: dict[str, Callable[[Scratch], object]] = {
    "another namespace": lambda s: Scratch.objects.filter(pk=s.pk).update(namespace_id="9" * 32),
    "another title": lambda s: Scratch.objects.filter(pk=s.pk).update(title="other"),
    "another account": lambda s: Environment.objects.filter(pk=s.environment_id).update(account_id="9" * 32),
    "another bucket": lambda s: Environment.objects.filter(pk=s.environment_id).update(r2_bucket="other"),
}


@pytest.mark.usefixtures("backed_up")
@pytest.mark.parametrize("what", CHANGES)
def test_another_target_than_was_approved_is_refused(scratch: Scratch, people: make.People, what: str) -> None:
    allowed(scratch, people)
    CHANGES[what](scratch)
    with pytest.raises(approval_gate.ApprovalRefused, match="The rule is no longer the one that was approved"):
        drill_requests.start(Environment.objects.get(pk=scratch.environment_id), by=people.operator)


GONE: dict[str, tuple[Callable[[make.People, ApprovalRequest], object], str]] = {
    "withdrawn": (
        lambda p, r: approval_gate.withdraw(r, by=p.operator2),
        "The standing approval is no longer in force",
    ),
    "no operator": (
        lambda p, _: make.revoke(p.operator, Role.OPERATOR),
        "no longer an operator",
    ),
    "no reviewer": (
        lambda p, _: make.revoke(p.reviewer, Role.REVIEWER),
        "no longer a reviewer",
    ),
    "stopped": (lambda p, _: emergency.press(Environment.objects.get(slug="qa"), by=p.auditor), "is stopped"),
    "over": (lambda _, r: over(r), "The standing approval is no longer in force"),
    "edited": (lambda _, r: tampered(r, title="other"), "differs from its entry in the audit log"),
}


def over(request: ApprovalRequest) -> None:
    with past_the_triggers():
        ApprovalRequest.objects.filter(pk=request.pk).update(standing_until=Now(), use_by=Now())


@pytest.mark.usefixtures("backed_up")
@pytest.mark.parametrize("what", GONE)
def test_a_drill_ends_before_its_next_write_when_the_approval_is_gone(
    scratch: Scratch, people: make.People, estate: make.Estate, what: str
) -> None:
    request = allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    act, sentence = GONE[what]
    act(people, request)
    drilled(drill)
    run = Run.objects.get(pk=drill.run_id)
    assert run.state in {"failed", "stopped"}
    assert sentence in run.error
    assert not [call for call in estate.cloudflare.journal if call.written or call.deleted]


def test_it_stands_for_90_days_at_most(scratch: Scratch, people: make.People) -> None:
    for days, cap in ((0, 10), (91, 10), (30, 0), (30, 1_000_001)):
        with pytest.raises(drill_requests.DrillRefused, match="1 to 90 days"):
            drill_requests.ask(scratch.environment, days=days, cap=cap, by=people.operator)


def test_without_a_scratch_namespace_it_says_what_to_do(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(drill_requests.DrillRefused, match=r"Bind one .* with scratch = true"):
        drill_requests.ask(estate.qa.environment, days=1, cap=1, by=people.operator)


# How it stands


@pytest.mark.usefixtures("backed_up")
def test_after_35_days_restores_count_as_not_rehearsed(scratch: Scratch, people: make.People) -> None:
    assert [(one.environment.slug, one.late) for one in drill_requests.all_statuses()] == [
        ("qa", True),
        ("production", True),
    ]
    allowed(scratch, people)
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert not drill_requests.all_statuses()[0].late
    tampered(drill, finished_at=Now() - (Drill.LATE + timedelta(minutes=1)))
    assert drill_requests.all_statuses()[0].late


def test_a_standing_approval_says_when_it_is_soon_over(scratch: Scratch, people: make.People) -> None:
    request = drill_requests.ask(scratch.environment, days=6, cap=1, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    assert standing.soon_over(request)
    assert drill_requests.all_statuses()[0].soon_over


# By schedule


@pytest.mark.usefixtures("backed_up")
def test_a_schedule_starts_a_drill(scratch: Scratch, people: make.People) -> None:
    allowed(scratch, people)
    with log.transaction():
        begun = drill_requests.scheduled(scratch.environment, make.SETUP)
    assert (len(begun.runs), begun.refused) == (1, [])
    assert drilled(Drill.objects.get()).passed


@pytest.mark.usefixtures("backed_up")
def test_a_schedule_says_what_a_drill_lacks(scratch: Scratch) -> None:
    with log.transaction():
        begun = drill_requests.scheduled(scratch.environment, make.SETUP)
    assert (begun.runs, len(begun.refused)) == ([], 1)
    assert "No standing approval is in force" in str(begun.refused[0])


@pytest.mark.usefixtures("backed_up")
def test_without_a_scratch_namespace_a_schedule_does_nothing(estate: make.Estate) -> None:
    with log.transaction():
        begun = drill_requests.scheduled(estate.qa.environment, make.SETUP)
    assert (begun.runs, begun.refused) == ([], [])


@pytest.mark.usefixtures("backed_up")
def test_operators_and_reviewers_are_told_of_a_drill_that_failed(
    scratch: Scratch, people: make.People, estate: make.Estate
) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    written(drill)
    estate.cloudflare.put(scratch.namespace_id, "master:text", b"other")
    drilled(drill)
    told = Notification.objects.filter(event=NotificationEvent.DRILL_FAILED)
    assert {note.person for note in told} == {people.operator, people.operator2, people.reviewer}
    assert told[0].link == f"/drills/{drill.pk}/"
    assert "keys that differed from the backup: 1 of " in str(told[0].lines)


@pytest.mark.usefixtures("backed_up")
def test_a_drill_that_is_overdue_is_told_once(scratch: Scratch, people: make.People) -> None:
    for _ in range(2):
        with log.transaction():
            drill_requests.in_time(scratch.environment, make.SETUP)
    assert Notification.objects.filter(event=NotificationEvent.DRILL_OVERDUE, person=people.reviewer).count() == 1
    allowed(scratch, people)
    drilled(drill_requests.start(scratch.environment, by=people.operator))
    with log.transaction():
        drill_requests.in_time(scratch.environment, make.SETUP)
    assert Notification.objects.filter(event=NotificationEvent.DRILL_OVERDUE, person=people.reviewer).count() == 1


@pytest.mark.usefixtures("backed_up")
def test_the_overview_says_when_the_last_drill_passed(scratch: Scratch, people: make.People) -> None:
    assert "Nobody knows whether a restore would work" in overview(people)
    allowed(scratch, people)
    drill = drilled(drill_requests.start(scratch.environment, by=people.operator))
    assert f'href="/drills/{drill.pk}/"' in overview(people)
    with past_the_triggers():
        Drill.objects.update(finished_at=Now() - timedelta(days=36))
    assert "More than 35 days ago" in overview(people)


def overview(people: make.People) -> str:
    return signed_in(people.auditor).get("/").content.decode()


class KilledInDrill(BaseException):
    """The worker is gone, whatever would catch an exception."""


@pytest.mark.usefixtures("backed_up")
@pytest.mark.parametrize(
    "at", [f"{moment} {call}" for call in ("bulk_put", "put_value", "bulk_delete") for moment in ("before", "after")]
)
def test_a_worker_that_dies_at_a_write_or_a_removal_is_taken_over(
    scratch: Scratch, people: make.People, estate: make.Estate, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    moment, call = at.split()
    real = getattr(KVWriter, call)

    def dies(*given: object) -> None:
        if moment == "after":
            real(*given)
        raise KilledInDrill

    monkeypatch.setattr(KVWriter, call, dies)
    with pytest.raises(KilledInDrill):
        make.work()
    monkeypatch.setattr(KVWriter, call, real)
    Run.objects.filter(pk=drill.run_id).update(lease_until=Now() - timedelta(hours=1))
    assert (drilled(drill).passed, held(scratch, estate)) == (True, 0)


@pytest.mark.usefixtures("backed_up")
def test_a_drill_that_failed_holds_its_backups_no_longer(scratch: Scratch, people: make.People) -> None:
    allowed(scratch, people)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    backup = drill.backups.get().generation_id
    assert holds.holds_of([backup])
    run_driver.request_stop(drill.run, actor=make.SETUP)
    make.work()
    assert holds.holds_of([backup]) == {}
