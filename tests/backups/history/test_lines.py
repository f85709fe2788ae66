"""The rows of the history, one for each backup, and the outcome of a run for each key."""

import re
from datetime import date

import pytest
from django.test import Client

from backups.models import Restore
from backups.restores import undo as stage_undo
from backups.retention import pins
from kvops import timing
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations.test_pages import backed_up, filled
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
AT = "/backups/history/"


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


def test_a_backup_has_one_row_with_its_earlier_events_folded(
    estate: make.Estate, people: make.People, auditor: Client
) -> None:
    filled(estate)
    pins.pin(backed_up(estate, verify=False), reason="asked for as agreed", by=people.operator)
    answer = auditor.get(AT)
    [line] = answer.context["lines"]
    assert [event.lane.value for event in line.rows] == ["pinned", "verified", "taken"]
    assert "2 earlier events" in answer.content.decode()


def test_the_table_of_the_timeline_has_a_row_for_each_day(
    estate: make.Estate, people: make.People, auditor: Client
) -> None:
    filled(estate)
    pins.pin(backed_up(estate, verify=False), reason="asked for as agreed", by=people.operator)
    answer = auditor.get(AT)
    [(_day, numbers)] = answer.context["days"]
    assert numbers == [1, 1, 0, 1, 0]
    heads = re.findall(r'<th scope="col" class="num">(\w+)</th>', answer.text)
    assert heads == ["Taken", "Verified", "Restored", "Pinned", "Deleted"]
    # A kind that the filter leaves out has no column: a 0 in it would be wrong.
    only = auditor.get(AT, {"lane": "verified"})
    assert [numbers for _day, numbers in only.context["days"]] == [[1]]
    assert re.findall(r'<th scope="col" class="num">(\w+)</th>', only.text) == ["Verified"]


def test_no_event_is_lost_between_pages(estate: make.Estate, auditor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(estate)
    for _ in range(3):
        backed_up(estate, verify=False)
    monkeypatch.setattr("backups.history.views.READ", 4)
    first = auditor.get(AT)
    rest = auditor.get(f"{AT}?after={first.context['after']}")
    seen = [event.entry.seq for answer in (first, rest) for line in answer.context["lines"] for event in line.rows]
    assert (len(seen), len(set(seen))) == (6, 6)


def test_the_period_is_chosen_by_its_length(auditor: Client) -> None:
    for days in (30, 90, 365):
        scope = auditor.get(f"{AT}?days={days}").context["scope"]
        assert (scope.until - scope.since).days == days - 1
    assert auditor.get(f"{AT}?days=7").context["scope"] is None
    assert auditor.get(f"{AT}?days=30&since=2026-01-01&until=2026-01-02").context["scope"].until == date(2026, 1, 2)


def test_the_period_that_is_shown_is_marked_in_the_picker(auditor: Client) -> None:
    queries = ("", "?days=90", "?since=2026-01-01", "?days=7")
    marked = [re.findall(r'aria-current="true"[^>]*>\s*(\d+) days', auditor.get(f"{AT}{one}").text) for one in queries]
    assert marked == [["30"], ["90"], [], []]


@pytest.mark.parametrize("kind", ["deletion", "restore"])
def test_the_outcome_of_a_run_for_each_key_is_a_file(
    estate: make.Estate, people: make.People, auditor: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    run, outcome = stage.run, "deleted"
    if kind == "restore":
        stage_undo.start_undo(stage, by=people.operator2)
        make.work()
        run, outcome = Restore.objects.get(stage=stage).run, "written"
    assert run is not None
    assert f'href="/runs/{run.pk}/outcomes.csv"' in auditor.get(f"/runs/{run.pk}/").content.decode()
    answer = auditor.get(f"/runs/{run.pk}/outcomes.csv")
    assert "no-store" in answer.headers["Cache-Control"]
    _head, *rows = b"".join(answer).decode().splitlines()
    assert sorted(rows) == [f'"{name}","{outcome}"' for name in sorted(cleanup_helpers.NAMES)]


def test_a_key_that_the_deletion_left_has_its_own_outcome(
    estate: make.Estate, people: make.People, auditor: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    first = b"".join(auditor.get(f"/runs/{run.pk}/outcomes.csv")).decode()
    assert first.count('"planned"') == len(cleanup_helpers.NAMES)
    estate.put(estate.qa, cleanup_helpers.NAMES[0], b"changed after the backup")
    make.work()
    table = b"".join(auditor.get(f"/runs/{run.pk}/outcomes.csv")).decode()
    assert f'"{cleanup_helpers.NAMES[0]}","changed"' in table
    assert table.count('"deleted"') == len(cleanup_helpers.NAMES) - 1


def test_a_run_without_keys_has_no_outcomes(estate: make.Estate, auditor: Client) -> None:
    filled(estate)
    run = backed_up(estate, verify=False).run
    assert "outcomes.csv" not in auditor.get(f"/runs/{run.pk}/").content.decode()
    assert auditor.get(f"/runs/{run.pk}/outcomes.csv").status_code == 404
