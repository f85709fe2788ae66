"""Copies made for a deletion are shared with the team: by the channel or by a person, and never submitted before."""

import os
from collections.abc import Iterator

import pytest
from django.db.models.functions import Now

from audit.models import Entry
from backups.cleanup import evidence as cleanup_evidence, preparation, requests as cleanup_requests, sharing
from backups.cleanup.stages import CleanupRefused
from backups.models import BackupShare, CleanupRequest, CleanupStage
from kvops.models import Environment, Notification, NotificationEvent
from kvops.notifications import outbox
from kvops.wording import moment
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.http import Reply
from tests.fakes.slack import FakeSlack
from tests.signing import signed_in


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as fake:
        yield fake


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    """A clean-up with its references stated."""
    cleanup_helpers.estate_with_masters(estate)
    asked = cleanup_helpers.asked(people)
    cleanup_helpers.search_code(asked)
    return asked


@pytest.fixture
def channel(slack: FakeSlack, request_: CleanupRequest) -> FakeSlack:
    """QA has a channel."""
    os.environ["TEST_SLACK"] = slack.webhook
    Environment.objects.filter(slug="qa").update(slack="env:TEST_SLACK")
    return slack


def checked(request: CleanupRequest, people: make.People) -> CleanupStage:
    """Frozen, copied, read back and checked; nobody was told by hand."""
    preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)
    preparation.prepare_stage(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    return cleanup_helpers.stage_of(request)


def deliver() -> None:
    Notification.objects.filter(state="waiting").update(next_at=Now())
    for pk in Notification.objects.filter(event=NotificationEvent.BACKUP_FOR_DELETION).values_list("pk", flat=True):
        outbox.deliver(pk)


def test_nothing_is_submitted_before_its_backup_was_shared(request_: CleanupRequest, people: make.People) -> None:
    stage = checked(request_, people)
    with pytest.raises(CleanupRefused, match="not yet shared with the team"):
        cleanup_requests.submit(stage, by=people.operator)
    sharing.state(stage, place="#kv-cleanup", by=people.operator)
    cleanup_requests.submit(stage, by=people.operator)


def test_the_channel_is_told_who_backed_up_what_where(
    channel: FakeSlack, request_: CleanupRequest, people: make.People
) -> None:
    stage = checked(request_, people)
    deliver()
    assert stage.generation is not None
    told = str(channel.taken)
    made = stage.generation
    parts = (
        "QA",
        f"Made at {moment(made.finished_at)} by Operator",
        "master:*",
        "Keys: 3",
        made.manifest_key,
        made.manifest_sha256,
    )
    assert [part for part in parts if part not in told] == []
    assert f"http://localhost:8000/backups/{stage.generation_id}/" in told


def test_the_channels_taking_it_is_the_share_and_part_of_the_evidence(
    channel: FakeSlack, request_: CleanupRequest, people: make.People
) -> None:
    stage = checked(request_, people)
    with pytest.raises(CleanupRefused):
        cleanup_requests.submit(stage, by=people.operator)
    deliver()
    approval = cleanup_requests.submit(stage, by=people.operator)
    share = BackupShare.objects.get()
    assert (share.place, share.by) == ("Slack: env:TEST_SLACK", None)
    assert f'"notification":{share.notification_id}' in approval.evidence
    assert Entry.objects.get(action="copy.shared").details == {"place": "Slack: env:TEST_SLACK"}


def test_what_a_person_says_stays_when_the_channel_takes_it_later(
    channel: FakeSlack, request_: CleanupRequest, people: make.People
) -> None:
    channel.down = Reply(503)
    stage = checked(request_, people)
    deliver()
    sharing.state(stage, place="by phone, with Reviewer", by=people.operator)
    approval = cleanup_requests.submit(stage, by=people.operator)
    channel.down = None
    deliver()
    assert Notification.objects.get(event=NotificationEvent.BACKUP_FOR_DELETION).state == "delivered"
    assert cleanup_evidence.evidence_digest(cleanup_helpers.stage_of(request_)) == approval.digest
    assert BackupShare.objects.get().by == people.operator


def test_it_is_said_once_by_an_operator_and_of_a_verified_backup(request_: CleanupRequest, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="no verified backup"):
        sharing.state(cleanup_helpers.stage_of(request_), place="x", by=people.operator)
    stage = checked(request_, people)
    with pytest.raises(CleanupRefused, match="operator"):
        sharing.state(stage, place="x", by=people.reviewer)
    with pytest.raises(CleanupRefused, match="Name the place"):
        sharing.state(stage, place=" ", by=people.operator)
    sharing.state(stage, place="x", by=people.operator)
    with pytest.raises(CleanupRefused, match="already recorded"):
        sharing.state(stage, place="y", by=people.operator)


def test_a_new_backup_is_shared_anew(request_: CleanupRequest, people: make.People) -> None:
    sharing.state(checked(request_, people), place="x", by=people.operator)
    with pytest.raises(CleanupRefused, match="not yet shared"):
        cleanup_requests.submit(checked(request_, people), by=people.operator)


def test_the_page_asks_for_it_and_says_why(request_: CleanupRequest, people: make.People) -> None:
    stage, operator = checked(request_, people), signed_in(people.operator)
    page = operator.get(f"/cleanup/{request_.pk}/").content.decode()
    assert all(words in page for words in ("Record the share and submit", "QA has no Slack channel"))
    answer = operator.post(f"/cleanup/stages/{stage.pk}/share", {"place": "#kv-cleanup"}, follow=True)
    assert all(words in answer.content.decode() for words in ("Operator: #kv-cleanup", "Submit for approval"))


def test_the_page_says_how_the_message_fares(channel: FakeSlack, request_: CleanupRequest, people: make.People) -> None:
    channel.script.append(Reply(404, b"no_service"))
    checked(request_, people)
    operator = signed_in(people.operator)
    assert "is on its way" in operator.get(f"/cleanup/{request_.pk}/").content.decode()
    deliver()
    assert "did not reach the Slack channel" in operator.get(f"/cleanup/{request_.pk}/").content.decode()


def test_the_reviewer_reads_how_it_was_shared(request_: CleanupRequest, people: make.People) -> None:
    stage = checked(request_, people)
    sharing.state(stage, place="#kv-cleanup, thread of 3 July", by=people.operator)
    approval = cleanup_requests.submit(stage, by=people.operator)
    page = signed_in(people.reviewer).get(f"/approvals/{approval.pk}/").content.decode()
    assert "#kv-cleanup, thread of 3 July" in page
