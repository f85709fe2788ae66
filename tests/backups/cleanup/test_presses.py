"""Presses that take several steps: each step keeps its conditions, and what was done before a refusal stays."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from audit.models import Entry
from backups.cleanup import sharing
from backups.cleanup.pages import presses
from backups.cleanup.stages import CleanupRefused
from backups.models import BackupShare, CleanupRequest, CleanupStage
from kvops import timing
from kvops.models import ApprovalRequest, Run, Scan
from tests import make, searched
from tests.audit.make import triggers_off
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State
PLACE = "#kv-cleanup, with Reviewer"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def unshared(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """The stage, prepared by one press, with the code searched and the backup not shared."""
    presses.begin(cleanup_helpers.stage_of(request, slug), by=people.operator)
    make.work()
    cleanup_helpers.search_code(request)
    return cleanup_helpers.stage_of(request, slug)


def test_one_press_prepares_a_stage(request_: CleanupRequest, operator: Client) -> None:
    stage = cleanup_helpers.stage_of(request_)
    operator.post(f"/cleanup/stages/{stage.pk}/begin")
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.names) == (State.CHECKED, 3)


def test_a_stage_whose_turn_it_is_not_is_not_prepared(request_: CleanupRequest, operator: Client) -> None:
    stage = cleanup_helpers.stage_of(request_, "production")
    answer = operator.post(f"/cleanup/stages/{stage.pk}/begin")
    assert (answer.status_code, said(answer)[0].startswith("Clean up QA first")) == (409, True)
    stage.refresh_from_db()
    assert (stage.state, Run.objects.filter(kind=Run.Kind.BACKUP).count()) == (State.WAITING, 0)


def test_a_request_prepares_its_first_environment_if_it_says_so(estate: make.Estate, operator: Client) -> None:
    cleanup_helpers.estate_with_masters(estate)
    typed = {"binding": "SETTINGS", "prefix": "master:", "reason": "moved to D1"}
    operator.post("/cleanup/new/", {**typed, "begin": "on"})
    states = CleanupStage.objects.order_by("order").values_list("state", flat=True)
    assert list(states) == [State.FROZEN, State.WAITING]


def test_a_new_request_leads_to_the_places_in_the_code_while_its_backup_runs(
    estate: make.Estate, operator: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    searched.code(estate.qa.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"])
    typed = {"binding": "SETTINGS", "prefix": "master:", "reason": "moved to D1", "begin": "on"}
    answer = operator.post("/cleanup/new/", typed)
    stage = CleanupStage.objects.earliest("order")
    assert (answer.headers["Location"], stage.state) == (f"/cleanup/stages/{stage.pk}/references/", State.FROZEN)


def test_a_request_stays_if_its_first_environment_cannot_be_prepared(estate: make.Estate, operator: Client) -> None:
    cleanup_helpers.estate_with_masters(estate)
    Scan.objects.all().update(completed_at="2026-01-01T00:00:00Z")
    typed = {"binding": "SETTINGS", "prefix": "master:", "reason": "moved to D1", "begin": "on"}
    answer = operator.post("/cleanup/new/", typed, follow=True)
    assert "was not scanned within a day" in answer.content.decode()
    assert CleanupStage.objects.filter(state=State.WAITING).count() == 2


def test_one_press_records_the_share_and_submits(
    request_: CleanupRequest, people: make.People, operator: Client
) -> None:
    stage = unshared(request_, people)
    assert operator.post(f"/cleanup/stages/{stage.pk}/submit", {"place": " "}).status_code == 422
    operator.post(f"/cleanup/stages/{stage.pk}/submit", {"place": PLACE})
    stage.refresh_from_db()
    assert (stage.state, BackupShare.objects.get().place) == (State.SUBMITTED, PLACE)


def test_a_press_that_is_sent_twice_is_no_refusal(
    request_: CleanupRequest, people: make.People, operator: Client
) -> None:
    stage = unshared(request_, people)
    for _press in range(2):
        assert operator.post(f"/cleanup/stages/{stage.pk}/submit", {"place": PLACE}).status_code == 302
    assert Entry.objects.filter(action="stage.submitted").count() == 1
    assert not Entry.objects.filter(action="refused").exists()


@pytest.mark.parametrize(
    ("place", "later", "who"), [("elsewhere", 0, "operator"), (PLACE, 60, "operator"), (PLACE, 0, "operator2")]
)
def test_another_press_after_the_submit_is_refused_and_recorded(
    request_: CleanupRequest, people: make.People, place: str, later: int, who: str
) -> None:
    stage = unshared(request_, people)
    presses.submit(stage, place=PLACE, by=people.operator)
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.update(created_at=Now() - timedelta(seconds=later))
    answer = signed_in(getattr(people, who)).post(f"/cleanup/stages/{stage.pk}/submit", {"place": place})
    assert (answer.status_code, Entry.objects.filter(action="refused").count()) == (409, 1)


def test_nothing_is_submitted_with_a_share_that_another_person_recorded(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = unshared(request_, people)
    sharing.state(stage, place=PLACE, by=people.operator2)
    with pytest.raises(CleanupRefused, match="already recorded"):
        presses.submit(stage, place="elsewhere", by=people.operator)
    presses.submit(stage, place="", by=people.operator)
    assert BackupShare.objects.get().by == people.operator2


def test_the_message_to_paste_names_the_backup_and_production_has_the_place_of_qa(
    request_: CleanupRequest, people: make.People, operator: Client
) -> None:
    stage = unshared(request_, people)
    page = operator.get(f"/cleanup/{request_.pk}/").content.decode()
    assert f"Backup {stage.generation_id} for a deletion in QA: 3 keys under master:* of qa-settings" in page
    cleanup_helpers.accepted(request_, people)
    unshared(request_, people, "production")
    page = operator.get(f"/cleanup/{request_.pk}/").content.decode()
    assert f"{PLACE}</textarea>" in page


def test_an_acceptance_goes_on_with_the_next_environment_if_it_says_so(
    request_: CleanupRequest, people: make.People, operator: Client
) -> None:
    stage = cleanup_helpers.confirmed(request_, people)
    assert "Record it, and prepare Production" in operator.get(f"/cleanup/{request_.pk}/").content.decode()
    operator.post(f"/cleanup/stages/{stage.pk}/accept", {"note": "the pages work", "go_on": "on"})
    make.work()
    assert cleanup_helpers.stage_of(request_).state == State.ACCEPTED
    assert cleanup_helpers.stage_of(request_, "production").state == State.CHECKED


def test_an_acceptance_alone_begins_nothing(request_: CleanupRequest, people: make.People, operator: Client) -> None:
    stage = cleanup_helpers.confirmed(request_, people)
    operator.post(f"/cleanup/stages/{stage.pk}/accept", {"note": "the pages work"})
    assert cleanup_helpers.stage_of(request_, "production").state == State.WAITING


def test_a_run_is_stopped_from_the_page_of_its_stage(
    request_: CleanupRequest, people: make.People, operator: Client
) -> None:
    run = cleanup_helpers.started(request_, people)
    stage = cleanup_helpers.stage_of(request_)
    assert f'form="stop-{stage.pk}"' in operator.get(f"/cleanup/{request_.pk}/").content.decode()
    answer = operator.post(f"/cleanup/stages/{stage.pk}/stop")
    run.refresh_from_db()
    assert (answer.headers["Location"], run.stop_requested_by) == (f"/cleanup/{request_.pk}/", str(people.operator))
