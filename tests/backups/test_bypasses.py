"""Ways around the gate over HTTP, by commands, tasks and crashes; Cloudflare's journal says that none was open."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from audit.models import Entry
from backups.cleanup import requests as cleanup_requests, stages
from backups.models import CleanupChunk, CleanupStage
from kvops import tasks, timing
from kvops.models import ApprovalRequest, Run
from kvops.runs import driver as run_driver, lease as run_lease
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.http import Request
from tests.gate.world import past_the_triggers
from tests.signing import fresh, signed_in

pytestmark = pytest.mark.django_db

State = CleanupStage.State


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.0)


@pytest.fixture
def masters(estate: make.Estate) -> make.Estate:
    return cleanup_helpers.estate_with_masters(estate)


def run_of(stage: CleanupStage) -> Run:
    return Run.objects.get(subject=f"stage:{stage.pk}", kind=Run.Kind.DELETE)


# 4.2.3: whoever a request says it is


HEADERS = ("Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "Cf-Access-Authenticated-User-Email", "From")
FIELDS = ("approver", "requester", "starter", "by", "person", "person_id", "user", "user_id", "actor", "decided_by")

type Prepared = Callable[[make.People], CleanupStage]

ACTS: Mapping[str, tuple[str, Prepared, Callable[[CleanupStage], tuple[str, dict[str, str]]]]] = {
    "submit": (
        "operator2",
        lambda people: cleanup_helpers.prepared(cleanup_helpers.asked(people), people),
        lambda stage: (f"/cleanup/stages/{stage.pk}/submit", {}),
    ),
    "approve": (
        "reviewer",
        lambda people: cleanup_helpers.submitted(cleanup_helpers.asked(people), people),
        lambda stage: (f"/approvals/{stage.approval_id}/decide", approving(stage)),
    ),
    "withdraw": (
        "operator2",
        lambda people: cleanup_helpers.submitted(cleanup_helpers.asked(people), people),
        lambda stage: (f"/approvals/{stage.approval_id}/withdraw", {}),
    ),
    "start": (
        "operator2",
        lambda people: cleanup_helpers.approved(cleanup_helpers.asked(people), people),
        lambda stage: (f"/cleanup/stages/{stage.pk}/start", {"confirm": stage.namespace.title}),
    ),
    "accept": (
        "operator2",
        lambda people: cleanup_helpers.confirmed(cleanup_helpers.asked(people), people),
        lambda stage: (f"/cleanup/stages/{stage.pk}/accept", {"note": "Opened the pages, all well"}),
    ),
}
"""Act -> who does it, the stage it is done on, and what is posted where."""


def approving(stage: CleanupStage) -> dict[str, str]:
    asked = ApprovalRequest.objects.get(cleanupstage=stage)
    return {"decision": "approve", "shown": asked.digest, "confirm": stage.namespace.title, "reason": ""}


@pytest.mark.hazard("4.2.3")
@pytest.mark.parametrize("act", ACTS)
def test_whoever_is_signed_in_is_who_acted_whatever_is_sent_along(
    masters: make.Estate, people: make.People, act: str
) -> None:
    who, prepared, posted = ACTS[act]
    person = getattr(people, who)
    address, data = posted(prepared(people))
    newest = Entry.objects.latest("seq").seq
    forged = {name: str(people.auditor.pk) for name in FIELDS} | data
    browser = fresh(person)
    browser.post(address, forged, headers=dict.fromkeys(HEADERS, "auditor@example.com"))
    found = Entry.objects.filter(seq__gt=newest)
    assert {entry.actor_id for entry in found if not entry.actor.startswith("system:")} == {person.pk}
    assert not found.filter(action__startswith="refused").exists()


@pytest.mark.hazard("4.2.3")
def test_a_header_signs_nobody_in(masters: make.Estate, people: make.People) -> None:
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    browser = signed_in(people.reviewer)
    browser.logout()
    headers = dict.fromkeys(HEADERS, people.reviewer.email) | {"Authorization": "Basic cmV2aWV3ZXI6eA=="}
    answer = browser.post(f"/approvals/{stage.approval_id}/decide", approving(stage), headers=headers)
    assert answer.headers["Location"].startswith("/account/login/")
    assert ApprovalRequest.objects.get(cleanupstage=stage).state == "pending"


# 4.2.5: the view, the command, the task


@pytest.mark.hazard("4.2.5")
def test_a_start_that_is_posted_before_the_decision_is_refused_and_recorded(
    masters: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    answer = signed_in(people.operator).post(
        f"/cleanup/stages/{stage.pk}/start", {"confirm": stage.namespace.title}
    )  # fmt: skip
    make.work()
    assert (answer.status_code, cleanup_helpers.journal(masters)) == (409, {})
    assert Entry.objects.latest("seq").action == "refused"


@pytest.mark.hazard("4.2.5")
def test_the_rounds_of_the_sweep_decide_and_start_nothing(masters: make.Estate, people: make.People) -> None:
    waiting = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    call_command("sweep", "--once")
    assert ApprovalRequest.objects.get(cleanupstage=waiting).state == "pending"
    cleanup_helpers.approve(waiting, people)
    call_command("sweep", "--once")
    make.work()
    assert cleanup_helpers.stage_of(waiting.request).state == State.APPROVED
    assert not Run.objects.filter(kind="delete").exists()


@pytest.mark.hazard("4.2.5")
@pytest.mark.parametrize("state", ["submitted", "approved"])
def test_a_run_that_sql_put_there_deletes_nothing(masters: make.Estate, people: make.People, state: str) -> None:
    """As if the owner of the database had switched every trigger off: the stage even says that it is being deleted."""
    stage = getattr(cleanup_helpers, state)(cleanup_helpers.asked(people), people)
    asked = ApprovalRequest.objects.get(cleanupstage=stage)
    with past_the_triggers():
        run = Run.objects.create(
            kind="delete", subject=f"stage:{stage.pk}", label="x", actor="x", environment=stage.environment,
            approval=asked, approval_digest=asked.digest, started_by=people.operator,
        )  # fmt: skip
        CleanupStage.objects.filter(pk=stage.pk).update(state="deleting", run=run)
    for _ in range(3):
        tasks.step(run.pk)
    run.refresh_from_db()
    assert (run.error_code, cleanup_helpers.journal(masters)) == ("not_approved", {})


# 4.2.7: acting before the claim, and starting twice


@pytest.mark.hazard("4.2.7", "B26")
def test_a_double_click_starts_one_deletion(masters: make.Estate, people: make.People) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    browser, form = signed_in(people.operator), {"confirm": stage.namespace.title}
    codes = [browser.post(f"/cleanup/stages/{stage.pk}/start", form).status_code for _ in range(2)]
    make.work()
    assert codes == [302, 409]
    assert len(masters.cloudflare.calls("bulk_delete")) == Run.objects.filter(kind="delete").count() == 1


@pytest.mark.hazard("4.2.7")
@pytest.mark.django_db(transaction=True)
def test_at_the_delete_everybody_can_see_the_claim_the_run_and_the_intent(
    masters: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    seen: list[tuple[str, str, str]] = []

    def look(_request: Request) -> None:
        """In the fake's own thread, with a connection of its own: only what is committed."""
        asked, chunk = ApprovalRequest.objects.get(cleanupstage=stage), CleanupChunk.objects.get(stage=stage)
        seen.append((asked.state, run_of(stage).state, chunk.state))
        connection.close()

    masters.cloudflare.hook("bulk_delete", look)
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert seen == [("used", "running", "intended")]


@pytest.mark.hazard("4.2.7")
def test_a_worker_that_dies_between_the_claim_and_the_first_call_loses_nothing_and_doubles_nothing(
    masters: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    run = cleanup_requests.start_deletion(stage, by=people.operator)
    assert run_lease.take(run.pk) is not None
    with pytest.raises(stages.CleanupRefused, match="not approved"):
        cleanup_requests.start_deletion(stage, by=people.operator2)
    run_driver.drive(run.pk)
    assert cleanup_helpers.journal(masters) == {}
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(hours=1))
    make.work()
    assert set(cleanup_helpers.journal(masters)) == set(cleanup_helpers.NAMES)
    assert len(masters.cloudflare.calls("bulk_delete")) == 1


# 4.2.8 and 4.2.9: what changes between the start and the first chunk


@pytest.mark.hazard("4.2.8", "4.2.9")
def test_a_policy_that_is_replaced_after_the_start_stops_it_before_anything_is_sent(
    masters: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.another_policy()
    make.work()
    assert (run_of(stage).error_code, cleanup_helpers.journal(masters)) == ("stale", {})


# B26: stop and go on at once


@pytest.mark.hazard("B26")
def test_a_deletion_that_is_stopped_before_its_first_step_deletes_nothing(
    masters: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    cleanup_requests.start_deletion(stage, by=people.operator)
    browser = signed_in(people.operator2)
    codes = [browser.post(f"/runs/{run_of(stage).pk}/stop").status_code for _ in range(2)]
    make.work()
    assert codes == [302, 302]
    assert (run_of(stage).state, cleanup_helpers.journal(masters)) == ("stopped", {})
    assert Entry.objects.filter(action="run.stop_requested").count() == 1
