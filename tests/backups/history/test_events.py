"""The history of copies: what the record says of them, filtered, drawn, downloaded, reported."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone

from audit import log
from audit.actions import Action
from backups.generations import start as generation_start
from backups.history import events as history_events
from backups.history.events import LANES, Scope, TimelineLane
from backups.models import Generation
from backups.restores import selection as restore_selection
from backups.retention import pins
from backups.templatetags import charts
from kvops.models import Category, Family
from tests import make
from tests.backups.retention import requesting
from tests.signing import signed_in

AT = "/backups/history/"


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


@pytest.fixture
def backed_up(estate: make.Estate, people: make.People) -> Generation:
    """A verified copy of master: in QA, made by the operator; and one of stock: in production."""
    estate.put(estate.qa, "master:a")
    make.family("stock:", Category.LEGACY)
    estate.put(estate.production, "stock:a")
    made = backup(estate.qa, "master:", people)
    backup(estate.production, "stock:", people)
    return made


def backup(namespace: Any, prefix: str, people: make.People) -> Generation:
    made = generation_start.start_backup(
        namespace, prefixes=[prefix], actor=log.Actor(people.operator.pk, str(people.operator)), person=people.operator
    )
    make.work()
    made.refresh_from_db()
    return made


def scope(**more: Any) -> Scope:
    today = timezone.localdate()
    return Scope(**{"since": today - timedelta(days=30), "until": today, **more})


def told(**more: Any) -> list[tuple[int, str]]:
    return [(event.generation.pk, event.lane.value) for event in history_events.events(scope(**more), limit=100)]


def read(answer: Any) -> str:
    assert isinstance(answer, StreamingHttpResponse)
    chunks: Iterator[bytes] = answer.streaming_content  # type: ignore[assignment]
    return b"".join(chunks).decode("utf-8-sig")


def test_every_action_on_a_backup_is_on_a_line_or_only_a_beginning() -> None:
    shown = {action for actions in LANES.values() for action in actions}
    of_copies = {action for action in Action if action.value.startswith("generation.")}
    assert of_copies - shown == {Action.GENERATION_STARTED, Action.GENERATION_KEPT, Action.GENERATION_ELSEWHERE}


def test_it_tells_what_happened_newest_first(backed_up: Generation, people: make.People) -> None:
    pins.pin(backed_up, reason="for the audit", by=people.auditor)
    mine = [lane for pk, lane in told() if pk == backed_up.pk]
    assert mine == ["pinned", "verified", "taken"]
    (pinned,) = history_events.events(scope(lane=TimelineLane.PINNED), limit=10)
    assert (pinned.why, pinned.entry.actor) == ("for the audit", str(people.auditor))


def test_a_restore_is_told_of_its_backup(backed_up: Generation) -> None:
    restore = restore_selection.prepare_restore(backed_up, actor=make.SETUP)
    log.refusal(Action.RESTORE_FINISHED, actor=make.SETUP, subject=f"restore:{restore.pk}")
    assert told(lane=TimelineLane.RESTORED) == [(backed_up.pk, "restored")]


def test_it_is_filtered_by_family_environment_person_and_day(
    backed_up: Generation, estate: make.Estate, people: make.People
) -> None:
    masters = Family.objects.get(pattern="master:")
    assert {pk for pk, _ in told(family=masters)} == {backed_up.pk}
    assert {pk for pk, _ in told(environment=estate.qa.environment)} == {backed_up.pk}
    assert told(actor="AUDITOR@") == []
    assert len(told(actor="operator@")) == 4
    assert told(since=timezone.localdate() + timedelta(days=1), until=timezone.localdate() + timedelta(days=2)) == []


def test_pages_go_on_where_the_last_one_ended(backed_up: Generation) -> None:
    first = history_events.events(scope(), limit=3)
    rest = history_events.events(scope(), before=first[-1].entry.seq, limit=3)
    assert [event.entry.seq for event in [*first, *rest]] == [
        event.entry.seq for event in history_events.all_events(scope())
    ]
    assert len(rest) == 1


def test_the_page_links_to_entry_backup_and_person(backed_up: Generation, auditor: Client, people: make.People) -> None:
    page = auditor.get(AT, {"family": "SETTINGS/master:*"}).content.decode()
    (verified,) = history_events.events(
        scope(lane=TimelineLane.VERIFIED, family=Family.objects.get(pattern="master:")), limit=5
    )
    assert f'href="/audit/{verified.entry.seq}/"' in page
    assert f'href="/backups/{backed_up.pk}/"' in page
    assert str(people.operator).replace("<", "&lt;").replace(">", "&gt;") in page
    assert 'class="chart-verified"' in page
    assert "style=" not in page


def test_every_family_and_backup_leads_to_its_history(backed_up: Generation, auditor: Client) -> None:
    for address in ("/categories/", "/backups/"):
        assert "/backups/history/?family=SETTINGS/master%3A%2A" in auditor.get(address).content.decode()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"since": "yesterday"}, "Enter a valid date"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "ends before it begins"),
        ({"since": "0001-01-01", "until": "0001-01-02"}, "between 2000 and 2050"),
        ({"family": "SETTINGS/nothing*"}, "Select a valid choice"),
    ],
)
def test_a_filter_that_cannot_be_read_is_said(auditor: Client, asked: dict[str, str], said: str) -> None:
    assert said in auditor.get(AT, asked).content.decode()
    assert auditor.get(f"{AT}events.csv", asked).status_code == 404


def test_a_period_without_events_says_what_comes_next(estate: make.Estate, auditor: Client) -> None:
    page = auditor.get(AT, {"since": "2020-01-01", "until": "2020-02-01"}).content.decode()
    assert "Choose a longer period" in page


def test_the_view_comes_as_csv_and_json(backed_up: Generation, auditor: Client) -> None:
    asked = {"family": "SETTINGS/master:*", "lane": "verified"}
    (row,) = csv.DictReader(StringIO(read(auditor.get(f"{AT}events.csv", asked))))
    assert (row["generation"], row["event"], row["prefixes"]) == (str(backed_up.pk), "verified", "master:")
    found = json.loads(read(auditor.get(f"{AT}events.json", asked)))
    assert [each["generation"] for each in found["rows"]] == [backed_up.pk]
    assert len(json.loads(read(auditor.get(f"{AT}events.json", {"all": "1", **asked})))["rows"]) == 4


def test_a_reason_that_looks_like_a_formula_is_none_in_a_spreadsheet(
    backed_up: Generation, auditor: Client, people: make.People
) -> None:
    pins.pin(backed_up, reason="=1+1 as agreed", by=people.auditor)
    (row,) = csv.DictReader(StringIO(read(auditor.get(f"{AT}events.csv", {"lane": "pinned"}))))
    assert row["why"] == "'=1+1 as agreed"


def test_the_report_says_from_when_until_when_and_how_often_verified(
    backed_up: Generation, auditor: Client, people: make.People
) -> None:
    generation_start.start_verification(backed_up, actor=make.SETUP)
    make.work()
    (row,) = history_events.existed(scope(family=Family.objects.get(pattern="master:")), limit=10)
    assert (row.generation, len(row.verified), row.until) == (backed_up, 2, None)
    page = auditor.get(f"{AT}report/", {"family": "SETTINGS/master:*"}).content.decode()
    assert "2 times" in page
    assert "still stored" in page
    assert "A rule, a pin or a lock may keep a backup longer" in page


def test_an_auditor_finds_who_deleted_a_backup_and_why_within_three_clicks(
    estate: make.Estate, auditor: Client, people: make.People
) -> None:
    (backup_of_old,) = requesting.expired(estate, 40)
    prune = requesting.started(estate, people)
    make.work()
    found = clicked(auditor, "/backups/", f"/backups/{backup_of_old.pk}/")
    assert f"Asked by {people.operator.name}: Their date has come" in found
    assert f"decided by {people.reviewer.name}" in found
    found = clicked(auditor, "/backups/", "/backups/history/?", f"/approvals/{prune.approval_id}/")
    assert people.reviewer.name in found
    (row,) = [each for each in history_events.existed(scope(), limit=10) if each.generation == backup_of_old]
    assert row.deletion is not None
    assert (row.deletion.why, row.deletion.approval) == ("Their date has come", prune.approval)
    counted = [each.events for each in history_events.counts_by_day(scope(lane=TimelineLane.DELETED))]
    assert counted == [1]
    report = auditor.get(f"{AT}report/").content.decode()
    assert f"Approval {prune.approval_id}" in report


def clicked(browser: Client, start: str, *links: str) -> str:
    """The page behind the first link of each page that begins so."""
    page = browser.get(start).content.decode()
    for link in links:
        address = next(found for found in re.findall(r'href="([^"]+)"', page) if found.startswith(link.rstrip("?")))
        page = browser.get(address.replace("&amp;", "&")).content.decode()
    return page


def test_a_backup_that_came_after_the_period_is_not_in_its_report(backed_up: Generation) -> None:
    yesterday = timezone.localdate() - timedelta(days=1)
    assert history_events.existed(scope(until=yesterday), limit=10) == []


def test_marks_are_days_weeks_or_months_by_the_length_of_the_period() -> None:
    today = timezone.localdate()
    counted = [history_events.DayCount(today - timedelta(days=days), TimelineLane.TAKEN, 1) for days in range(14)]
    for days, marks in ((30, 14), (400, 3), (2000, 2)):
        long = Scope(since=today - timedelta(days=days), until=today)
        drawn = charts.timeline(long, counted)["marks"]
        assert isinstance(drawn, list)
        assert 1 <= len(drawn) <= marks


def test_the_curves_end_at_the_newest_backup(backed_up: Generation, estate: make.Estate) -> None:
    drawn = charts.trend(scope(), history_events.trend(scope()), "keys")
    lines = drawn["lines"]
    assert isinstance(lines, list)
    assert [(line.name, line.production, len(line.dots)) for line in lines] == [
        ("QA", False, 1),
        ("Production", True, 1),
    ]


def test_another_days_backups_are_another_point(
    backed_up: Generation, estate: make.Estate, people: make.People
) -> None:
    backup(estate.qa, "master:", people)
    points = history_events.trend(scope(family=Family.objects.get(pattern="master:")))
    assert [point.generation.pk for point in points] == [Generation.objects.latest("pk").pk]
