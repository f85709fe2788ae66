"""The ticket, the frozen writers and the allowed hours: in the evidence, and rules at the start of a deletion."""

from datetime import datetime, timedelta

import pytest

from backups.cleanup import evidence as cleanup_evidence, requests as cleanup_requests
from backups.cleanup.next_action import next_action
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest
from kvops import clock
from kvops.models import ApprovalRequest, Environment, Run
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
TICKET = "https://tickets.example/KV-7?a=<b>"


@pytest.fixture
def asked(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


def arrange(cleanup: CleanupRequest, people: make.People, until: datetime | None, ticket: str = TICKET) -> None:
    by = "the shop team" if until else ""
    cleanup_requests.arrange(cleanup, ticket=ticket, frozen_until=until, frozen_by=by, by=people.operator)


def test_the_ticket_and_the_frozen_writers_are_evidence_and_shown_to_the_reviewer(
    asked: CleanupRequest, people: make.People
) -> None:
    until = clock.now() + timedelta(hours=2)
    arrange(asked, people, until)
    asked.refresh_from_db()
    stage = cleanup_helpers.submitted(asked, people)
    built = cleanup_evidence.build(stage)
    assert built["ticket"] == TICKET
    assert built["writers_frozen"] == {"until": until.isoformat(), "by": "the shop team"}
    approval = ApprovalRequest.objects.get(cleanupstage=stage)
    for address in (f"/approvals/{approval.pk}/", f"/cleanup/{asked.pk}/"):
        page = signed_in(people.reviewer).get(address).content.decode()
        assert 'href="https://tickets.example/KV-7?a=&lt;b&gt;" rel="noopener noreferrer">tickets.example</a>' in page
        assert "the shop team" in page
    with pytest.raises(CleanupRefused, match="already submitted"):
        arrange(asked, people, None)


def test_the_page_has_the_form_for_operators_until_a_stage_is_submitted(
    asked: CleanupRequest, people: make.People
) -> None:
    page, form = f"/cleanup/{asked.pk}/", f'action="/cleanup/{asked.pk}/arrange"'
    assert form in signed_in(people.operator).get(page).content.decode()
    assert form not in signed_in(people.auditor).get(page).content.decode()
    cleanup_helpers.submitted(asked, people)
    assert form not in signed_in(people.operator).get(page).content.decode()


@pytest.mark.parametrize("ticket", ["javascript:alert(1)", "ftp://tickets.example/7", "https://a b"])
def test_a_ticket_is_an_address_of_the_web(asked: CleanupRequest, people: make.People, ticket: str) -> None:
    answer = signed_in(people.operator).post(f"/cleanup/{asked.pk}/arrange", {"ticket": ticket})
    assert answer.status_code == 422
    asked.refresh_from_db()
    assert asked.ticket == ""


def test_frozen_writers_need_a_name_and_a_time_in_the_future(asked: CleanupRequest, people: make.People) -> None:
    client, address = signed_in(people.operator), f"/cleanup/{asked.pk}/arrange"
    for fields in ({"frozen_by": "we"}, {"frozen_until": "2099-01-01T10:00"}, {"frozen_until": "2020-01-01T10:00"}):
        assert client.post(address, fields).status_code == 422
    assert client.post(address, {"frozen_until": "2099-01-01T10:00", "frozen_by": "we"}).status_code == 302


def test_no_deletion_starts_after_the_writers_were_thawed(asked: CleanupRequest, people: make.People) -> None:
    arrange(asked, people, clock.now() - timedelta(minutes=1))
    asked.refresh_from_db()
    stage = cleanup_helpers.approved(asked, people)
    with pytest.raises(CleanupRefused, match="record a new time on the clean-up"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    action = next_action(stage, people.operator)
    assert action is not None
    assert "The writers were frozen until" in action.disabled_reason
    assert not Run.objects.filter(kind=Run.Kind.DELETE).exists()


def test_a_deletion_starts_only_within_the_hours_and_then_goes_on(
    asked: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    Environment.objects.filter(slug="qa").update(hours="09:00-18:00", days="mon,tue,wed,thu,fri")
    stage = cleanup_helpers.approved(asked, people)
    assert cleanup_evidence.build(stage)["hours"] == {
        "hours": "09:00-18:00",
        "days": "mon,tue,wed,thu,fri",
        "time_zone": "Asia/Tokyo",
    }
    opens = clock.now() + timedelta(hours=3)
    monkeypatch.setattr("kvops.environments.hours.next_opening", lambda *_: opens)
    with pytest.raises(CleanupRefused, match="starts only within the allowed hours"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    assert cleanup_helpers.stage_of(asked).state == "approved"
    monkeypatch.setattr("kvops.environments.hours.next_opening", lambda *_: None)
    cleanup_requests.start_deletion(stage, by=people.operator)
    monkeypatch.setattr("kvops.environments.hours.next_opening", lambda *_: opens)
    make.work()
    assert cleanup_helpers.stage_of(asked).state == "confirmed"
