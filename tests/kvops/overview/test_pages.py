"""The first page: where everything stands, what waits for whom, what is wrong."""

import re
from collections.abc import Sequence
from datetime import timedelta
from socket import gethostname
from typing import TYPE_CHECKING, cast

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit import log
from backups.bucket import protection as bucket_protection
from backups.drills import requests as drill_requests
from backups.investigations import requests as investigation_requests
from kvops import clock, timing
from kvops.approvals import emergency_release, gate as approval_gate, prepared_changes
from kvops.models import (
    ApprovalRequest,
    Family,
    Heartbeat,
    Namespace,
    Person,
    Role,
    Run,
    Scan,
    ScanCount,
)
from kvops.overview.lines import Line, Urgency
from kvops.runs import driver as run_driver, emergency
from kvops.schedules import jobs as schedule_jobs
from kvops.supervision import heartbeats
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.backups.retention import requesting
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.kvops.approvals.evidence import EVIDENCE
from tests.signing import signed_in

if TYPE_CHECKING:
    from kvops.overview import page as overview_page

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _everything_runs(db: None) -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)


def page(person: Person) -> str:
    answer = signed_in(person).get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def scanned(namespace: Namespace, **counts: int) -> Scan:
    run = Run.objects.create(
        kind="scan",
        subject="x",
        label="x",
        actor="x",
        state="succeeded",
        finished_at=Now(),
        environment=namespace.environment,
    )
    scan = Scan.objects.create(namespace=namespace, run=run, completed_at=Now())
    for category, keys in counts.items():
        ScanCount.objects.create(scan=scan, category=category, pattern=category, keys=keys)
    return scan


def lines(person: Person) -> Sequence[Line]:
    """What the page says is to be done, alarms and steps."""
    return cast("overview_page.Overview", signed_in(person).get("/").context["overview"]).lines


def alarms(person: Person) -> Sequence[Line]:
    return [line for line in lines(person) if line.urgency != Urgency.STEP]


def titles(person: Person) -> list[str]:
    return [line.title for line in alarms(person)]


# Where everything stands


def test_every_environment_shows_its_keys_by_category(estate: make.Estate, people: make.People) -> None:
    scanned(estate.qa, legacy=4300, cache=812)
    shown = page(people.auditor)
    assert "5,112 keys" in shown
    assert 'href="/keys/qa/SETTINGS/?category=legacy"' in shown
    assert "4,300" in shown


def test_a_scan_under_way_is_not_offered_again(estate: make.Estate, people: make.People) -> None:
    with log.transaction():
        run_driver.create(Run.Kind.SCAN, subject=f"namespace:{estate.qa.pk}", label="qa/SETTINGS", actor=make.SETUP)
    assert "Scan under way" in page(people.operator)
    assert 'action="/keys/qa/SETTINGS/scan"' not in page(people.operator)


def test_a_fresh_installation_says_what_to_do_first(people: make.People) -> None:
    shown = page(people.operator)
    assert "apply_environments" in shown
    assert "apply_policy" in shown


def test_the_first_steps_are_ticked_off_and_go(estate: make.Estate, people: make.People) -> None:
    def states() -> list[str]:
        return [step.state for step in signed_in(people.operator).get("/").context["overview"].first_steps]

    assert states() == ["done", "done", "current"]
    for namespace in (estate.qa, estate.production):
        scanned(namespace)
    assert states() == []


def test_the_newest_verified_backup_of_every_family_is_shown(estate: make.Estate, people: make.People) -> None:
    assert "none expected" in page(people.auditor)
    old, new, other = backup_of_age(estate.qa, 2), backup_of_age(estate.qa, 1), backup_of_age(estate.production, 1)
    shown = page(people.auditor)
    assert f'href="/backups/{new.pk}/"' in shown
    assert f'href="/backups/{other.pk}/"' in shown
    assert f'href="/backups/{old.pk}/"' not in shown


# What waits


def waits(person: Person) -> list[int]:
    addresses = [re.fullmatch(r"/approvals/(\d+)/", line.url) for line in lines(person)]
    return [int(address[1]) for address in addresses if address]


@pytest.fixture
def asked(people: make.People) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            ApprovalRequest.Kind.DELETE_KEYS,
            subject="stage:1",
            title="Delete 3 keys",
            evidence=EVIDENCE,
            requester=people.operator,
        )


def test_a_request_waits_for_whoever_can_decide(people: make.People, asked: ApprovalRequest) -> None:
    assert waits(people.reviewer) == [asked.pk]
    assert waits(people.operator) == waits(people.auditor) == []
    assert "Nothing waits for you." in page(people.auditor)


def test_an_approved_change_waits_for_an_operator(people: make.People) -> None:
    make.policy()
    asked = prepared_changes.submit_change(make.prepared_policy(), by=people.operator)
    assert waits(people.operator) == []
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert waits(people.operator) == [asked.pk]
    assert waits(people.reviewer) == []


def test_a_stage_waits_for_an_operator_with_its_next_step(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    assert page(people.operator).count("<strong>Prepare QA</strong>") == 1
    assert "Prepare QA" not in page(people.reviewer)
    cleanup_helpers.prepared(request, people)
    assert "Submit for approval" in page(people.operator)


def test_a_stage_that_waits_for_somebody_else_or_a_run_is_not_shown(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert works(people.operator) == []
    asked = ApprovalRequest.objects.get()
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert "Delete 3 keys" in page(people.operator)


def works(person: Person) -> list[tuple[str, str]]:
    """The person's next steps but decisions, with their pages."""
    steps = [line for line in lines(person) if line.urgency == Urgency.STEP and "/approvals/" not in line.url]
    shown = page(person)
    assert all(f'href="{line.url}"' in shown and line.title in shown for line in steps)
    return [(line.title, line.url) for line in steps]


def test_an_approved_restore_waits_for_an_operator_who_did_not_approve_it(
    estate: make.Estate, people: make.People
) -> None:
    estate.put(estate.qa, "master:a:1")
    backup = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa)
    restore = restore_helpers.prepared(backup, people)
    assert works(people.operator) == []
    restore_helpers.approved(restore, people)
    assert works(people.operator2) == [("Start the restore", f"/restores/{restore.pk}/")]
    make.grant(people.reviewer, Role.OPERATOR)
    assert works(people.reviewer) == []


def test_an_approved_prune_request_waits_for_an_operator(estate: make.Estate, people: make.People) -> None:
    requesting.expired(estate, 40)
    prune = requesting.asked(estate, people)
    assert works(people.operator) == []
    approval_gate.approve(prune.approval, by=people.reviewer, shown=prune.approval.digest)  # type: ignore[arg-type, union-attr]
    assert works(people.operator) == [("Start the prune run", f"/retention/prunes/{prune.pk}/")]


def test_an_investigation_whose_deletion_nobody_approved_waits_for_an_operator(
    estate: make.Estate, people: make.People
) -> None:
    bucket_protection.ask_cloudflare(estate.qa.environment)
    cache = Family.objects.get(pattern="mastercache:")
    mine = investigation_requests.start(
        estate.qa, family=cache, title="x", reason="no longer needed", days=7, by=people.operator
    )
    assert works(people.operator) == []
    asked = ApprovalRequest.objects.get()
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="not like this")
    assert works(people.operator2) == [("Ask for the approval to delete its backup", f"/investigations/{mine.pk}/")]


def test_an_overdue_drill_waits_for_an_operator(estate: make.Estate, people: make.People) -> None:
    backup_of_age(estate.qa, 1)
    scratch = make.scratch(estate)
    assert works(people.operator) == [("Ask for the approval of restore drills", "/drills/")]
    asked = drill_requests.ask(scratch.environment, days=30, cap=10, by=people.operator)
    assert works(people.operator) == []
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert works(people.operator) == [("Start a restore drill", "/drills/")]


def test_a_rejected_request_waits_for_whoever_asked_until_they_ask_again(people: make.People) -> None:
    def ask() -> ApprovalRequest:
        with log.transaction():
            return approval_gate.submit(
                ApprovalRequest.Kind.POLICY, subject="x", title="x", evidence={}, requester=people.operator
            )

    asked = ask()
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="the owner is missing")
    assert waits(people.operator) == [asked.pk]
    assert "Rejected by Reviewer: the owner is missing" in page(people.operator)
    assert waits(people.operator2) == waits(people.reviewer) == []
    ask()
    assert waits(people.operator) == []


# What is under way


def test_the_work_under_way_is_shown_and_polled(people: make.People) -> None:
    with log.transaction():
        run = run_driver.create(Run.Kind.VERIFY, subject="generation:1", label="qa master:", actor=make.SETUP, total=10)
    assert 'hx-get="/live"' in page(people.auditor)
    moving = signed_in(people.auditor).get("/live")
    assert f'href="/runs/{run.pk}/"' in moving.content.decode()
    assert "HX-Refresh" not in moving.headers


def test_when_nothing_is_under_way_any_more_the_page_is_loaded_again(people: make.People) -> None:
    assert "hx-get" not in page(people.auditor)
    assert signed_in(people.auditor).get("/live").headers["HX-Refresh"] == "true"


# Alarms


def test_all_is_well_when_nothing_is_wrong(people: make.People) -> None:
    assert titles(people.auditor) == []


@pytest.mark.parametrize(
    ("late", "title"),
    [
        (["canary"], "The worker does not execute tasks"),
        (["worker"], "The worker does not execute tasks"),
        (["sweep"], "The sweep does not run"),
    ],
)
@pytest.mark.parametrize("never", [True, False])
def test_a_process_that_does_not_run_is_an_alarm(people: make.People, late: list[str], title: str, never: bool) -> None:
    beats = Heartbeat.objects.of(late[0])
    beats.delete() if never else beats.update(at=Now() - timedelta(seconds=timing.CANARY_LATE + timing.PART + 1))
    place = "" if never or late == ["sweep"] else f" on {gethostname()}"
    assert titles(people.auditor) == [title.replace("worker", f"worker{place}")]


def fail(subject: str, **more: object) -> Run:
    values: dict[str, object] = {
        "state": "failed",
        "error_code": "odd",
        "error": "Something odd.",
        "finished_at": Now(),
    }
    return Run.objects.create(kind="verify", subject=subject, label=subject, actor="x", **values | more)


def test_a_failed_run_is_an_alarm_with_its_sentence(people: make.People) -> None:
    run = fail("generation:1")
    [alarm] = alarms(people.auditor)
    assert "Something odd." in alarm.text
    assert alarm.url == f"/runs/{run.pk}/"


def test_several_failed_runs_are_one_alarm(people: make.People) -> None:
    fail("generation:1")
    fail("generation:2")
    [alarm] = alarms(people.auditor)
    assert (alarm.title, alarm.url) == ("2 runs failed", "/runs/?state=failed")


def test_a_failure_that_was_tried_again_or_is_old_is_no_alarm(people: make.People) -> None:
    fail("generation:1")
    Run.objects.create(
        kind="verify", subject="generation:1", label="x", actor="x", state="succeeded", finished_at=Now()
    )
    fail("generation:2", finished_at=Now() - timedelta(days=8))
    assert titles(people.auditor) == []


def test_a_damaged_backup_is_an_alarm_with_its_reason(estate: make.Estate, people: make.People) -> None:
    generation_helpers.backup_of(estate, status="damaged", problem="Entry 3 differs.")
    shown = page(people.auditor)
    assert "is damaged" in shown
    assert "Entry 3 differs." in shown


def test_a_backup_nobody_read_back_for_a_day_is_an_alarm(estate: make.Estate, people: make.People) -> None:
    generation_helpers.backup_of(estate)
    assert "was never verified" not in page(people.auditor)
    generation_helpers.backup_of(estate, finished_at=Now() - timedelta(days=2))
    assert "was never verified" in page(people.auditor)


def test_a_good_backup_ends_the_alarm_of_an_older_one(estate: make.Estate, people: make.People) -> None:
    generation_helpers.backup_of(estate, status="partial", vanished=2)
    generation_helpers.backup_of(estate, status="verified", verified_at=Now())
    assert "is partial" not in page(people.auditor)


# Cost


def test_the_page_counts_no_keys_and_does_not_grow_with_them(estate: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    scanned(estate.qa, legacy=3)
    generation_helpers.backup_of(estate, prefixes=["master:"])
    with CaptureQueriesContext(connection) as few:
        browser.get("/")
    for number in range(20):
        generation_helpers.backup_of(estate, prefixes=[f"master:{number}:"])
        scanned(estate.qa, legacy=10_000_000)
    with CaptureQueriesContext(connection) as many:
        browser.get("/")
    assert len(many) == len(few)
    assert not any('"kvops_key"' in query["sql"] for query in many)


@pytest.mark.parametrize(("days", "offered"), [(30, True), (0, False)])
def test_a_family_whose_backup_is_overdue_is_offered_to_be_backed_up(
    estate: make.Estate, people: make.People, days: int, offered: bool
) -> None:
    make.change_families("master:", interval_hours=24)
    for namespace in (estate.qa, estate.production):
        backup_of_age(namespace, days, prefixes=["master:"])
    page = signed_in(people.operator).get("/").content.decode()
    line = re.search(r"<tr>(?:(?!</tr>).)*master:\*.*?</tr>", page, re.DOTALL)
    assert line
    assert (line[0].count("Back up master:*"), line[0].count(">overdue<")) == ((2, 2) if offered else (0, 0))


def test_the_unused_release_of_a_stop_that_is_over_waits_for_nobody(estate: make.Estate, people: make.People) -> None:
    emergency.press(estate.qa.environment, by=people.reviewer)
    asked = emergency_release.ask(estate.qa.environment, by=people.operator, reason="the question is over")
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert waits(people.operator) == [asked.pk]
    again = emergency_release.ask(estate.qa.environment, by=people.operator, reason="the question is over")
    approval_gate.approve(again, by=people.reviewer, shown=again.digest)
    emergency_release.use(again, by=people.operator2)
    assert waits(people.operator) == []


def test_red_alarms_stand_above_amber_ones_and_the_oldest_first(estate: make.Estate, people: make.People) -> None:
    scanned(estate.qa, unclassified=3)
    generation_helpers.backup_of(estate, prefixes=["a:"], status="partial", finished_at=Now() - timedelta(days=1))
    fail("generation:1", finished_at=Now() - timedelta(hours=2))
    for prefix, age in (("b:", timedelta(hours=1)), ("c:", timedelta(days=2))):
        finished = Now() - age
        generation_helpers.backup_of(estate, prefixes=[prefix], status="damaged", problem="x", finished_at=finished)
    found = [(line.look, line.title) for line in alarms(people.auditor)]
    newest = "The newest backup of qa/SETTINGS"
    assert [one for one in found if "restore history" not in one[1] and "are overdue" not in one[1]] == [
        ("red", f"{newest} c:* is damaged"),
        ("red", "1 run failed"),
        ("red", f"{newest} b:* is damaged"),
        ("amber", f"{newest} a:* is partial"),
        ("amber", "qa/SETTINGS has unclassified keys"),
    ]


def test_an_auditor_has_a_calm_page_without_buttons(estate: make.Estate, people: make.People) -> None:
    scanned(estate.qa, unclassified=3)
    shown = page(people.auditor).partition('id="do-now"')[2].partition('id="families"')[0]
    assert "qa/SETTINGS has unclassified keys" in shown
    assert "<button" not in shown
    assert 'class="btn' not in shown
    assert 'class="btn btn-sm' in page(people.operator).partition('id="do-now"')[2]


def test_what_a_person_has_acknowledged_is_folded(estate: make.Estate, people: make.People) -> None:
    scan = scanned(estate.qa, legacy=3)
    Scan.objects.filter(pk=scan.pk).update(unexplained=2)
    assert "qa/SETTINGS: 2 unexplained deletions" in titles(people.operator)
    Scan.objects.filter(pk=scan.pk).update(
        acknowledged_at=Now(), acknowledged_by=people.operator, acknowledged_note="Jane did it by hand."
    )
    assert "qa/SETTINGS: 2 unexplained deletions" not in titles(people.operator)
    folded = page(people.operator).partition("1 known and noted")[2].partition("</details>")[0]
    assert "Operator: Jane did it by hand." in folded


def test_more_than_four_lines_fold(people: make.People, estate: make.Estate) -> None:
    for number in range(8):
        generation_helpers.backup_of(estate, prefixes=[f"{number}:"], status="damaged", problem="x")
    overview = cast("overview_page.Overview", signed_in(people.operator).get("/").context["overview"])
    assert len(overview.shown) == 4
    assert overview.more
    shown = page(people.operator)
    assert f"and {len(overview.more)} more" in shown
    assert f"{overview.more_red} of them problems" in shown
    assert [f"{one.alike} more of this kind below" in shown for one in overview.shown if one.alike] == [True]


def test_one_finding_in_qa_and_production_is_one_line(estate: make.Estate, people: make.People) -> None:
    for namespace in (estate.qa, estate.production):
        scanned(namespace, unclassified=1203)
    [line] = [line for line in lines(people.operator) if "unclassified" in line.title]
    assert line.title == "2,406 unclassified keys"
    assert line.url == "/keys/production/SETTINGS/?category=unclassified"
    assert [environment.slug for environment in line.environments] == ["production", "qa"]
    assert 'href="/keys/qa/SETTINGS/?category=unclassified"' in page(people.operator)


def test_the_next_14_days_have_scans_drills_and_the_ends_of_approvals(
    estate: make.Estate, people: make.People, asked: ApprovalRequest
) -> None:
    schedule_jobs.provide()
    shown = page(people.auditor).partition("Next 14 days")[2].partition('id="families"')[0]
    assert "Scan of every namespace" in shown
    assert f'href="/approvals/{asked.pk}/">Last day to decide: Delete keys' in shown
    assert shown.count("Scan of every namespace") == 1  # both environments


def test_the_next_14_days_have_the_late_check_of_a_clean_up_but_not_of_a_schedule(people: make.People) -> None:
    for label, person in (("QA SETTINGS old:*", people.operator), ("QA SETTINGS tmp:*", None)):
        Run.objects.create(
            kind=Run.Kind.LATE_CHECK, subject=label, label=label, state="running", started_by=person,
            wake_at=clock.now() + timedelta(days=1),
        )  # fmt: skip
    shown = page(people.auditor).partition("Next 14 days")[2].partition('id="families"')[0]
    assert "Late check: QA SETTINGS old:*" in shown
    assert "tmp:*" not in shown
