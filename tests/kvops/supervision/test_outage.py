"""Somebody is woken: the mail of the sweep about a worker that is gone, and the heartbeat to a service outside."""

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from socket import gethostname

import pytest
from django.core import mail
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from kvops import queue, tasks, timing
from kvops.models import Heartbeat
from kvops.notifications import senders
from kvops.refusals import Sentence
from kvops.supervision import heartbeats
from kvops.supervision.heartbeats import TOLD
from kvops.supervision.outage import TRIED, Watch
from tests import make
from tests.clusters import Sweep, Worker, until
from tests.fakes.http import Reply, Server
from tests.fakes.smtp import FakeMail
from tests.signing import signed_in

GONE = f"[KVOps] The worker on {gethostname()} does not execute tasks"
BACK = "[KVOps] The worker executes tasks again"


@contextmanager
def outside(calls: list[str], status: int = 200) -> Iterator[str]:
    """A service that is called while all is well; its address."""

    def answer(request: object) -> Reply:
        calls.append(str(request))
        return Reply(status)

    server = Server(answer)
    yield f"{server.start()}/ping/secret-of-the-check"
    server.stop()


@pytest.mark.hazard("B30")
def test_a_worker_that_is_killed_wakes_somebody_and_then_the_sweep_is_missed_too(
    transactional_db: None, people: make.People, client: Client, tmp_path: Path
) -> None:
    calls: list[str] = []
    with FakeMail() as mails, outside(calls) as address:
        worker = Worker(tmp_path / "worker.log")
        sweep = Sweep(tmp_path / "sweep.log", {**mails.settings, "KVOPS_HEARTBEAT_URL": address})
        try:
            worker.idle()
            until("all is well", lambda: client.get("/healthz/work").status_code == 200 and len(calls) > 1)
            worker.process.kill()
            until("it is said", lambda: client.get("/healthz/work").status_code == 503)
            until("it is told", lambda: bool(mails.to("reviewer@example.com")) and TOLD in beats())
            before = len(calls)
            rounds = seen("sweep") + timedelta(seconds=3 * timing.OUTAGE_RETRY)
            until("there were more rounds", lambda: seen("sweep") > rounds)
            assert mails.to("reviewer@example.com") == mails.to("operator@example.com") == [GONE]
            sweep.process.kill()
            auditor = signed_in(people.auditor)
            until("both are named", lambda: auditor.get("/healthz/work").content.count(b"was last seen") >= 2)
            said = auditor.get("/healthz/work").content.decode()
            assert "The sweep was last seen" in said
            assert f"The worker on {gethostname()} was last seen" in said
            assert (client.get("/healthz/work").content, len(calls)) == (b"stopped\n", before)
        finally:
            sweep.end()
            worker.end()


def beats() -> set[str]:
    return set(Heartbeat.objects.values_list("name", flat=True))


def seen(name: str) -> datetime:
    return Heartbeat.objects.of(name).get().at


def test_in_production_it_is_said_within_a_minute_and_told_within_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVOPS_TIME_SCALE", "1")
    there = runpy.run_path(timing.__file__)
    assert there["CANARY_LATE"] < 60
    assert there["OUTAGE"] + there["SWEEP"] + there["MESSAGE_TIMEOUT"] < 120


# The judgement, in one process


@pytest.fixture
def watch(people: make.People) -> Watch:
    """A sweep that has run for long."""
    watch = Watch()
    watch._began -= timing.OUTAGE
    return watch


def all_is_well() -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)


def gone(name: str = "worker", seconds: float = timing.OUTAGE + timing.PART + 1) -> None:
    Heartbeat.objects.of(name).update(at=Now() - timedelta(seconds=seconds))


def look(watch: Watch) -> list[str]:
    """Look, and look again when the mails are out; the titles of all mails so far."""
    Heartbeat.objects.filter(name=TRIED).delete()
    watch.look()
    until("the mails are out", lambda: not watch._mailer.busy)
    watch._note_told()
    return sorted({str(message.subject) for message in mail.outbox})


def test_an_outage_is_told_once_to_operators_and_reviewers(watch: Watch) -> None:
    all_is_well()
    gone()
    look(watch)
    assert look(watch) == [GONE]
    to = sorted(message.to[0] for message in mail.outbox)
    assert to == ["operator2@example.com", "operator@example.com", "reviewer@example.com"]


def test_the_end_of_an_outage_is_told_when_a_task_was_executed(watch: Watch) -> None:
    all_is_well()
    gone("worker")
    gone("canary")
    look(watch)
    heartbeats.beat("worker")
    assert look(watch) == [GONE]
    heartbeats.beat("canary")
    look(watch)
    assert look(watch) == sorted([GONE, BACK])
    assert TOLD not in beats()


def lives(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A worker on the host that executes tasks."""
    monkeypatch.setenv(queue.CLUSTER_OF, f"{host}:7")
    heartbeats.beat_worker()
    tasks.came_back(None)


def away(host: str) -> None:
    rows = Heartbeat.objects.filter(worker__startswith=f"{host}:")
    rows.update(at=Now() - timedelta(seconds=timing.OUTAGE + timing.PART + 1))


def test_the_mail_names_the_host_that_is_ill_and_says_whether_another_works(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeats.beat("sweep")
    lives(monkeypatch, "left")
    lives(monkeypatch, "right")
    away("left")
    assert look(watch) == look(watch) == ["[KVOps] The worker on left does not execute tasks"]
    text = str(mail.outbox[0].body)
    assert "The worker on left was last seen at" in text
    assert "Another worker goes on, and takes over its runs" in text
    away("right")
    [_first, second] = look(watch)
    assert look(watch)[1] == second
    assert "on left does not execute tasks" in second
    assert "on right does not execute tasks" in second
    assert "Until it is back, no backup" in str(mail.outbox[-1].body)


def test_a_worker_that_came_back_and_executes_nothing_is_no_end_of_the_outage(watch: Watch) -> None:
    all_is_well()
    gone("worker", timing.OUTAGE + 1)
    gone("canary", timing.OUTAGE + 11)
    assert look(watch) == [GONE]
    heartbeats.beat_worker()
    assert look(watch) == [GONE]
    assert [name for name in heartbeats.missing() if "executed" in name]
    heartbeats.beat("canary")
    assert look(watch) == sorted([GONE, BACK]) or look(watch) == sorted([GONE, BACK])  # the second look notes it


def test_a_mail_that_no_server_took_is_sent_again(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    all_is_well()
    gone()

    def refuse(*_: object) -> None:
        raise senders.MessageTryLater(Sentence("The mail server cannot be reached."))

    with monkeypatch.context() as broken:
        broken.setattr(senders, "mail", refuse)
        assert look(watch) == []
    assert look(watch) == [GONE]


def test_two_sweeps_send_one_mail(watch: Watch) -> None:
    all_is_well()
    gone()
    watch.look()
    other = Watch()
    other._began -= timing.OUTAGE
    other.look()
    until("the mails are out", lambda: not watch._mailer.busy)
    assert len(mail.outbox) == 3
    assert not other._mailer.busy


def test_a_sweep_that_just_started_gives_the_worker_time(people: make.People) -> None:
    watch = Watch()
    assert look(watch) == []


def test_each_person_reads_it_in_their_language(watch: Watch, people: make.People) -> None:
    type(people.reviewer).objects.filter(pk=people.reviewer.pk).update(language="ja")
    all_is_well()
    gone()
    look(watch)
    mine = next(message for message in mail.outbox if message.to == ["reviewer@example.com"])
    assert "ワーカー" in mine.subject
    assert "manage.py worker" in mine.body


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize("late", ["worker", "canary"])
def test_no_heartbeat_goes_out_while_something_is_missing(settings: Settings, late: str) -> None:
    calls: list[str] = []
    with outside(calls) as address:
        settings.KVOPS_HEARTBEAT_URL = address
        all_is_well()
        gone(late, timing.CANARY_LATE + timing.PART + 1)
        Watch().look()
        all_is_well()
        Watch().look()
        until("it is called", lambda: bool(calls))
    assert len(calls) == 1


def test_a_refused_heartbeat_is_in_the_log_without_its_address(
    people: make.People, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    all_is_well()
    with outside([], status=404) as address:
        settings.KVOPS_HEARTBEAT_URL = address
        watch = Watch()
        watch.look()
        until("it is over", lambda: not watch._caller.busy)
    assert "KVOPS_HEARTBEAT_URL answered 404" in caplog.text
    assert "secret-of-the-check" not in caplog.text


@pytest.mark.parametrize(("status", "noted"), [(200, True), (404, False)])
def test_the_doctor_is_left_the_time_of_a_call_that_worked(
    people: make.People, settings: Settings, status: int, noted: bool
) -> None:
    all_is_well()
    with outside([], status=status) as address:
        settings.KVOPS_HEARTBEAT_URL = address
        watch = Watch()
        watch.look()
        until("it is over", lambda: not watch._caller.busy)
    watch.look()
    assert (heartbeats.age(heartbeats.OUTSIDE) is not None) is noted
