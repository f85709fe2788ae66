"""Notifications: who is told, in which language, and that each message arrives although services and workers fail."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import OrmQ

from audit import log
from audit.models import Entry
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import (
    ApprovalRequest,
    Environment,
    Firing,
    Notification,
    NotificationEvent,
    Person,
    Run,
    Schedule,
)
from kvops.notifications import bundles, outbox, senders
from kvops.notifications.senders import Message, MessageRefused, MessageTryLater, Unclear
from kvops.runs import driver as run_driver
from kvops.supervision import sweep
from kvops.wording import say, translated
from tests import make
from tests.fakes.http import Reply
from tests.fakes.slack import FakeSlack
from tests.gate import world as gate
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State = Notification.State


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as fake:
        yield fake


@pytest.fixture
def qa(slack: FakeSlack, estate: make.Estate) -> Environment:
    """QA with a channel, in Japanese."""
    os.environ["TEST_SLACK"] = slack.webhook
    Environment.objects.filter(slug="qa").update(slack="env:TEST_SLACK", language="ja")
    return Environment.objects.get(slug="qa")


def post(environment: Environment | None = None, subject: str = "generation:1", **more: object) -> None:
    with log.transaction():
        outbox.post(
            NotificationEvent.GENERATION_MADE,
            subject=subject,
            title="made",
            environment=environment,
            **more,  # type: ignore[arg-type]
        )


def only() -> Notification:
    return Notification.objects.get()


def test_a_name_writes_no_lines_of_its_own_into_a_mail(people: make.People) -> None:
    forged = "a\nApproved by the reviewer.\u202e"
    post(to=[people.operator], lines=[say("Object: %(key)s", key=forged)])
    outbox.deliver(only().pk)
    [sent] = mail.outbox
    assert "Object: a[U+000A]Approved by the reviewer.[U+202E]" in sent.body.splitlines()


def test_a_name_writes_no_lines_of_its_own_into_a_title(people: make.People) -> None:
    with log.transaction():
        title = say("Backup of %(key)s", key="a\nApproved.\u202e")
        outbox.post(NotificationEvent.GENERATION_MADE, subject="generation:1", title=title, to=[people.operator])
    outbox.deliver(only().pk)
    [sent] = mail.outbox
    assert "Backup of a[U+000A]Approved.[U+202E]" in sent.subject


def test_a_name_writes_no_lines_of_its_own_into_a_channel(qa: Environment, slack: FakeSlack) -> None:
    post(qa, lines=[say("Object: %(key)s", key="a\nApproved by the reviewer.\u202e")])
    outbox.deliver(only().pk)
    assert "a[U+000A]Approved by the reviewer.[U+202E]" in str(slack.taken)


def deliver() -> None:
    """A round of the sweep and of a worker, whenever the messages are due."""
    Notification.objects.filter(state=State.WAITING).update(next_at=Now())
    outbox.send_due()
    for pk in Notification.objects.order_by("pk").values_list("pk", flat=True):
        outbox.deliver(pk)
    OrmQ.objects.all().delete()


def a_day_later(notification: Notification) -> None:
    Notification.objects.filter(pk=notification.pk).update(
        created_at=F("created_at") - timedelta(seconds=timing.MESSAGE_FOR + 1)
    )


# Who is told


def request(requester: Person, environment: Environment | None = None) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            ApprovalRequest.Kind.POLICY,
            subject="x",
            title="x",
            evidence={},
            requester=requester,
            environment=environment,
        )


def told(event: NotificationEvent) -> set[str]:
    return {one.recipient for one in Notification.objects.filter(event=event)}


def test_a_request_is_told_to_the_reviewers_and_not_to_whoever_asks(people: make.People) -> None:
    both = make.person("both", "operator", "reviewer")  # type: ignore[arg-type]
    request(both)
    assert told(NotificationEvent.APPROVAL_WAITING) == {str(people.reviewer)}


def test_a_request_is_told_in_the_channel_of_its_environment(qa: Environment, people: make.People) -> None:
    request(people.operator, qa)
    assert told(NotificationEvent.APPROVAL_WAITING) == {str(people.reviewer), "Slack: QA"}


def test_a_decision_is_told_to_whoever_asked(people: make.People) -> None:
    asked = request(people.operator)
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="not like this")
    assert told(NotificationEvent.APPROVAL_DECIDED) == {str(people.operator)}
    assert "Rejected by Reviewer" in Notification.objects.get(event=NotificationEvent.APPROVAL_DECIDED).title


def test_who_withdraws_their_own_request_is_not_told(people: make.People) -> None:
    approval_gate.withdraw(request(people.operator), by=people.operator)
    assert told(NotificationEvent.APPROVAL_DECIDED) == set()


def test_a_request_about_to_expire_is_told_once(people: make.People) -> None:
    asked = request(people.operator)
    sweep.sweep_once()
    assert told(NotificationEvent.APPROVAL_EXPIRING) == set()
    gate.tampered(asked, decide_by=Now() + timedelta(hours=1))
    sweep.sweep_once()
    sweep.sweep_once()
    assert told(NotificationEvent.APPROVAL_EXPIRING) == {str(people.reviewer)}
    assert Notification.objects.filter(event=NotificationEvent.APPROVAL_EXPIRING).count() == 1


def failed(person: Person | None) -> Run:
    with log.transaction():
        run = run_driver.create(Run.Kind.VERIFY, subject="generation:0", label="x", actor=make.SETUP, person=person)
    run_driver.drive(run.pk)
    return run


def test_a_failed_run_is_told_to_the_person_who_started_it(people: make.People) -> None:
    failed(people.reviewer)
    assert told(NotificationEvent.RUN_FAILED) == {str(people.reviewer)}


def test_a_failed_run_that_nobody_started_is_told_to_the_operators(people: make.People) -> None:
    failed(None)
    assert told(NotificationEvent.RUN_FAILED) == {str(people.operator), str(people.operator2)}


def test_a_person_without_an_active_login_is_not_told(people: make.People) -> None:
    make.deactivate(people.operator2)
    failed(None)
    assert told(NotificationEvent.RUN_FAILED) == {str(people.operator)}


def test_each_recipient_is_told_once_however_often_it_is_posted(qa: Environment, people: make.People) -> None:
    for _ in range(2):
        post(qa, to=[people.operator])
    post(qa, to=[people.operator], occasion="another")
    assert Notification.objects.count() == 4


def test_each_recipient_is_told_in_their_language(qa: Environment, people: make.People) -> None:
    title = say("%(word)s %(n)s", word=translated("Overview"), n=1)
    with log.transaction():
        outbox.post(NotificationEvent.GENERATION_MADE, subject="x:1", title=title, environment=qa, to=[people.operator])
    assert {one.language: one.title for one in Notification.objects.all()} == {"en": "Overview 1", "ja": "概要 1"}


# How it is delivered


def test_a_channel_gets_the_message_once(qa: Environment, slack: FakeSlack) -> None:
    post(qa)
    deliver()
    deliver()
    assert slack.texts == ["made"]
    assert only().state == State.DELIVERED


def test_a_person_gets_a_mail_that_can_be_told_from_a_repetition(people: make.People) -> None:
    post(to=[people.operator], link="/runs/1/", lines=["one", "two"])
    deliver()
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == (["operator@example.com"], "[KVOps] made")
    assert sent.body == "made\n\none\ntwo\n\nhttp://localhost:8000/runs/1/\n"
    assert sent.extra_headers["Message-ID"] == f"<kvops-{only().pk}@localhost>"


def test_the_sweep_rings_once_for_a_message(qa: Environment) -> None:
    post(qa)
    assert [outbox.send_due(), outbox.send_due()] == [1, 0]
    assert [row.func() for row in OrmQ.objects.all()] == ["kvops.tasks.deliver"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_slack_does_not_take_now_is_sent_later(qa: Environment, slack: FakeSlack, status: int) -> None:
    slack.script.append(Reply(status, b"", {"Retry-After": "120"}))
    post(qa)
    deliver()
    mine = only()
    assert (mine.state, mine.unclear, len(slack.taken)) == (State.WAITING, 0, 0)
    assert mine.error == f"Slack answered {status}."
    assert Notification.objects.filter(next_at__gt=Now() + timedelta(seconds=110)).exists()
    deliver()
    assert slack.texts == ["made"]


def test_what_slack_refuses_is_an_alarm_until_a_person_acts(qa: Environment, slack: FakeSlack) -> None:
    slack.script.append(Reply(404, b"channel_not_found"))
    post(qa)
    deliver()
    assert (only().state, only().error) == (State.FAILED, "Slack answered 404 channel_not_found.")
    outbox.try_again(only(), actor=make.SETUP)
    deliver()
    assert slack.texts == ["made"]
    assert list(Entry.objects.filter(subject="generation:1").order_by("seq").values_list("action", flat=True)) == [
        "notification.failed",
        "notification.tried_again",
    ]


def test_a_message_whose_answer_got_lost_is_sent_again_and_says_so(qa: Environment, slack: FakeSlack) -> None:
    slack.lose_the_answer()
    post(qa)
    deliver()
    assert (only().state, only().unclear) == (State.WAITING, 1)
    deliver()
    first, second = map(str, slack.taken)
    assert "再送" not in first
    assert "再送" in second


def test_a_message_whose_worker_died_is_sent_again_and_says_so(qa: Environment, slack: FakeSlack) -> None:
    post(qa)
    Notification.objects.update(state=State.SENDING, tries=1, claimed_at=Now())
    deliver()
    assert slack.taken == []
    Notification.objects.update(claimed_at=Now() - timedelta(seconds=timing.MESSAGE_CLAIM + 1))
    deliver()
    assert (only().state, only().unclear) == (State.DELIVERED, 1)
    assert "再送" in str(slack.taken[0])


def test_a_message_is_tried_for_a_day(qa: Environment, slack: FakeSlack) -> None:
    slack.down = Reply(503)
    post(qa)
    for _ in range(30):
        deliver()
    assert (only().state, only().tries) == (State.WAITING, 30)
    assert Notification.objects.filter(next_at__lte=Now() + timedelta(minutes=5) * timing.SCALE).exists()
    a_day_later(only())
    deliver()
    assert only().state == State.FAILED


def test_who_sent_it_says_so_although_another_worker_was_to_try_again(qa: Environment, slack: FakeSlack) -> None:
    post(qa)
    Notification.objects.update(state=State.SENDING, tries=1, claimed_at=Now())
    slow = Notification.objects.select_related("environment", "person").get()
    Notification.objects.update(state=State.WAITING, unclear=1)
    outbox._delivered([slow])
    deliver()
    assert (only().state, slack.taken) == (State.DELIVERED, [])


def test_a_given_up_message_is_not_sent(qa: Environment, slack: FakeSlack) -> None:
    slack.script.append(Reply(403, b"action_prohibited"))
    post(qa)
    deliver()
    outbox.drop(only(), actor=make.SETUP)
    deliver()
    assert (only().state, slack.taken) == (State.DROPPED, [])
    with pytest.raises(outbox.NotFailed):
        outbox.try_again(only(), actor=make.SETUP)


def test_an_environment_that_lost_its_channel_says_so(qa: Environment) -> None:
    post(qa)
    Environment.objects.update(slack="")
    deliver()
    assert only().error == outbox.NO_CHANNEL


def test_a_webhook_that_nothing_names_says_so(qa: Environment) -> None:
    post(qa)
    Environment.objects.update(slack="env:NOT_THERE")
    deliver()
    assert "NOT_THERE is not set" in only().error


# One message for one round of a check


def bundle(environment: Environment, people: make.People, *numbers: int, **more: object) -> None:
    """Notifications of one round."""
    with bundles.one_bundle("run:7"):
        for number in numbers:
            link, lines = f"/backups/{number}/", [f"reason {number}"]
            post(environment, f"generation:{number}", to=[people.operator], link=link, lines=lines, **more)


def test_a_round_is_one_message_for_each_recipient(qa: Environment, slack: FakeSlack, people: make.People) -> None:
    bundle(qa, people, 1, 2, 3)
    post(qa, "generation:9", to=[people.operator])
    assert outbox.send_due() == 4
    deliver()
    assert len(slack.taken) == 2
    first, second = mail.outbox
    assert (first.subject, second.subject) == ("[KVOps] 3 notifications: backup made (3)", "[KVOps] made")
    assert "1. made\n   reason 1\n   http://localhost:8000/backups/1/\n2. made" in first.body
    assert first.body.strip().endswith("http://localhost:8000/notifications/?bundle=run%3A7")
    assert {one.state for one in Notification.objects.all()} == {State.DELIVERED}


def test_a_round_with_one_finding_is_told_as_it_is(qa: Environment, people: make.People) -> None:
    bundle(qa, people, 1)
    deliver()
    assert mail.outbox[0].body == "made\n\nreason 1\n\nhttp://localhost:8000/backups/1/\n"


def test_a_long_round_names_the_first_and_counts_the_rest(qa: Environment, people: make.People) -> None:
    bundle(qa, people, *range(1, bundles.NAMED + 3))
    deliver()
    assert mail.outbox[0].subject == "[KVOps] 22 notifications: backup made (22)"
    assert "20. made" in mail.outbox[0].body
    assert "21. made" not in mail.outbox[0].body
    assert "And 2 more." in mail.outbox[0].body


def test_a_round_that_slack_refuses_is_sent_again_or_given_up_as_one(
    qa: Environment, slack: FakeSlack, people: make.People
) -> None:
    slack.script.append(Reply(404, b"channel_not_found"))
    bundle(qa, people, 1, 2)
    deliver()
    failed, _ = Notification.objects.filter(person=None, state=State.FAILED)
    outbox.try_again(failed, actor=make.SETUP)
    deliver()
    assert (len(slack.taken), slack.asked) == (1, 2)
    assert {one.state for one in Notification.objects.all()} == {State.DELIVERED}


def fired(number: int) -> list[Run]:
    """Runs that one due time of a schedule started; each is queued."""
    schedule = Schedule.objects.create(job="scan", expression="7 1 * * *", next_at=Now())
    firing = Firing.objects.create(schedule=schedule, due_at=Now(), outcome="started")
    return [
        Run.objects.create(kind="verify", subject=f"generation:{one}", label="x", actor="x", firing=firing)
        for one in range(number)
    ]


def test_what_a_scheduled_run_tells_is_of_its_round(
    qa: Environment, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = fired(1)
    monkeypatch.setattr(run_driver, "_step", lambda _: post(qa, "generation:1", to=[people.operator]))
    run_driver.drive(run.pk)
    assert {one.bundle for one in Notification.objects.all()} == {f"firing:{run.firing_id}"}


def test_the_runs_of_one_due_time_are_told_in_one_message(qa: Environment, people: make.People) -> None:
    runs = fired(2)
    for run in runs:
        with bundles.one_bundle(bundles.of_run(run)), bundles.one_bundle("run:7"):
            post(qa, f"generation:{run.pk}", to=[people.operator])
        assert outbox.send_due() == 0
    Run.objects.update(state="running")
    Run.objects.update(state="succeeded", finished_at=Now())
    deliver()
    assert [message.subject for message in mail.outbox] == ["[KVOps] 2 notifications: backup made (2)"]


def test_a_message_waits_a_quarter_of_an_hour_for_the_other_runs(qa: Environment, people: make.People) -> None:
    (run,) = fired(1)
    with bundles.one_bundle(bundles.of_run(run)):
        post(qa, "generation:1", to=[people.operator])
    Notification.objects.update(created_at=Now() - timedelta(seconds=timing.MESSAGE_HELD))
    assert outbox.send_due() > 0


def test_the_page_shows_what_a_round_told(qa: Environment, people: make.People) -> None:
    bundle(qa, people, 1)
    post(qa, "generation:9")
    page = signed_in(people.auditor).get("/notifications/?bundle=run:7")
    assert {one.subject for one in page.context["found"]} == {"generation:1"}
    assert 'href="?bundle=run%3A7"' in page.text


# The two services

MESSAGE = Message(
    number=7, title="<!channel> & co", lines=["*bold*"], link="https://kvops/x", open_it="Open", help="", again=""
)


def test_a_name_cannot_mention_anybody_in_slack() -> None:
    built = json.loads(json.dumps(senders.blocks(MESSAGE)))
    assert built["text"] == "&lt;!channel&gt; &amp; co"
    header, section, context = built["blocks"]
    assert (header["text"]["type"], section["text"]["type"]) == ("plain_text", "plain_text")
    assert [one["text"] for one in context["elements"]] == ["<https://kvops/x|Open>", "KVOps #7"]


@pytest.mark.parametrize(
    "webhook", ["https://evil.example/x", "http://hooks.slack.com/x", "ftp://127.0.0.1/x", "127.0.0.1/x", "x"]
)
def test_a_webhook_elsewhere_is_refused_and_not_named(webhook: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        senders.slack(MESSAGE, webhook)
    assert webhook not in str(refused.value).replace("KVOPS_ALLOWED_WEBHOOK_HOSTS", "") or webhook == "x"


def test_a_redirect_of_slack_is_not_followed(slack: FakeSlack) -> None:
    slack.script.append(Reply(302, b"", {"Location": slack.webhook}))
    with pytest.raises(MessageRefused, match="302"):
        senders.slack(MESSAGE, slack.webhook)
    assert slack.asked == 1


def test_a_slack_that_nobody_reaches_has_not_taken_it() -> None:
    with pytest.raises(MessageTryLater, match="cannot be reached"):
        senders.slack(MESSAGE, "http://127.0.0.1:9/services/webhook-secret")


def test_a_slack_that_hangs_may_have_taken_it(slack: FakeSlack) -> None:
    slack.script.append(Reply(200, b"ok", hold=timing.MESSAGE_TIMEOUT + 1))
    with pytest.raises(Unclear):
        senders.slack(MESSAGE, slack.webhook)


def test_the_address_of_a_webhook_is_a_secret(
    qa: Environment, slack: FakeSlack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    slack.script.extend([Reply(0), Reply(500, slack.webhook.encode()), Reply(404, slack.webhook.encode())])
    post(qa)
    for _ in range(3):
        deliver()
        assert "webhook-secret" not in only().error
    assert "webhook-secret" not in "".join(
        record.getMessage() for record in caplog.records if record.name != "httpcore"
    )
    assert "webhook-secret" not in str(list(Entry.objects.values_list("details", flat=True)))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (SMTPRecipientsRefused({"x": (550, b"no")}), MessageRefused),
        (SMTPRecipientsRefused({"x": (450, b"busy")}), MessageTryLater),
        (SMTPServerDisconnected("gone"), Unclear),
        (ConnectionRefusedError(), MessageTryLater),
        (TimeoutError(), Unclear),
    ],
)
def test_what_a_mail_server_says_is_one_of_three_things(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise raised

    monkeypatch.setattr(EmailMessage, "send", fail)
    with pytest.raises(expected):
        senders.mail(MESSAGE, "somebody@example.com")
