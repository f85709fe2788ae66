"""The frame of every page: which pages the menu reaches, its numbers, the emergency stop of the header, and the tab."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from audit import log
from kvops.models import DatabaseRollback, EmergencyStop, Notification, Person, Run, Scan
from kvops.runs import driver as run_driver
from kvops.site import badges, menu
from kvops.site.pages import PAGES
from kvops.supervision import heartbeats
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in
from tests.test_doors import DOORS, VISITORS, DoorsWorld, world

__all__ = ["world"]

ENTRY = r'<a class="nav-entry" href="{}".*?</a>'


def page(person: Person, address: str = "/nowhere/") -> str:
    return signed_in(person).get(address).content.decode()


def entry(person: Person, address: str) -> str:
    """The entry of the menu that leads to an address, in one line."""
    found = re.search(ENTRY.format(re.escape(address)), page(person), re.DOTALL)
    assert found, address
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", found[0], flags=re.DOTALL).split())


def shown(person: Person) -> dict[str, list[tuple[int, bool]]]:
    """The numbers that a person sees, each with whether it is red."""
    found = badges.of(person.logins.get())
    return {key: [(one.count, one.alarm) for one in some] for key, some in found.items()}


def run(state: str = "queued", **fields: object) -> Run:
    with log.transaction():
        made = run_driver.create(Run.Kind.VERIFY, subject="generation:0", label="x", actor=make.SETUP)
    with make.past_the_triggers():
        Run.objects.filter(pk=made.pk).update(state=state, **fields)
    return made


@pytest.fixture
def alive(db: None) -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)


def test_every_page_with_an_address_of_its_own_is_one_click_from_the_menu(
    world: DoorsWorld, people: make.People
) -> None:
    operator = VISITORS.index("operator")
    alone = {name for name, door in DOORS.items() if door.get[operator] == 200 and not door.at(world)}
    wanted = {path for path in map(reverse, alone) if path.endswith("/") and not path.startswith("/account/")}
    browser = signed_in(people.operator)
    reached = set[str]()
    for address in (f"/{one.address}" for one in PAGES):
        links = re.findall(r'(?:href|action)="([^"]+)"', browser.get(address).content.decode())
        reached |= {unescape(link).partition("?")[0].partition("#")[0] for link in links}
    assert wanted - reached == set()


@pytest.mark.usefixtures("alive")
def test_nothing_is_counted_while_nothing_waits_and_all_is_well(estate: make.Estate, people: make.People) -> None:
    assert [shown(person) for person in (people.operator, people.reviewer, people.auditor)] == [{}, {}, {}]
    assert "waiting" not in entry(people.operator, "/cleanup/")


@pytest.mark.usefixtures("alive")
def test_each_role_sees_the_work_that_waits_for_it(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.asked(people)
    assert shown(people.operator)["cleanup"] == [(1, False)]
    assert "cleanup" not in shown(people.auditor)
    assert "1 waiting for an operator" in entry(people.operator, "/cleanup/")


@pytest.mark.usefixtures("alive")
def test_a_request_waits_for_those_who_may_decide_it(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert shown(people.reviewer)["approvals"] == [(1, False)]
    assert "approvals" not in shown(people.operator)


RED: dict[str, Callable[[make.Estate, make.People], object]] = {
    "runs": lambda _estate, _people: run(state="failed", error_code="x", error="x", finished_at="2099-01-01T00:00Z"),
    "notifications": lambda _estate, people: Notification.objects.create(
        event="run.failed", subject="run:0", person=people.operator, title="x", state="failed", error="x"
    ),
    "environments": lambda estate, people: EmergencyStop.objects.create(
        environment=estate.qa.environment, by=people.auditor
    ),
    "overview": lambda estate, _people: DatabaseRollback.objects.create(
        environment=estate.qa.environment,
        manifest_key="k",
        modified_at="2026-01-01T00:00Z",
        sequence=9,
        our_sequence=1,
        hash="a" * 64,
    ),
}


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("key", RED)
def test_what_is_wrong_is_counted_in_red_for_everybody(estate: make.Estate, people: make.People, key: str) -> None:
    RED[key](estate, people)
    assert shown(people.auditor) == {key: [(1, True)]}
    assert "favicon-alarm" in page(people.auditor).partition("data-alarm")[2].partition("href=")[2].partition(">")[0]


@pytest.mark.usefixtures("alive")
def test_an_unexplained_scan_is_counted_until_it_is_explained(estate: make.Estate, people: make.People) -> None:
    scan = Scan.objects.create(namespace=estate.qa, run=run(), unexplained=3)
    assert shown(people.auditor) == {"unexplained": [(1, True)]}
    Scan.objects.filter(pk=scan.pk).update(
        acknowledged_by=people.operator, acknowledged_at="2026-01-01T00:00Z", acknowledged_note="x"
    )
    assert shown(people.auditor) == {}


def test_processes_that_do_not_run_are_counted_at_the_overview(people: make.People) -> None:
    heartbeats.beat("sweep")
    assert shown(people.auditor) == {"overview": [(2, True)]}


def test_somebody_without_a_role_sees_no_number(estate: make.Estate, people: make.People) -> None:
    assert shown(people.nobody) == {}


def test_all_numbers_come_from_one_query_and_the_namespaces_from_another(
    estate: make.Estate, people: make.People, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = RequestFactory().get("/")
    request.user = people.operator.logins.select_related("person").get()
    assert request.user.has_perm("kvops.view")
    with django_assert_num_queries(2):
        frame: dict[str, Any] = menu.shell(request)
        assert frame["badges"]
        assert [one.slug for one in frame["nav_environments"]] == ["qa", "production"]


def test_the_stop_of_the_header_begins_with_the_environment_of_the_page(
    estate: make.Estate, people: make.People
) -> None:
    text = page(people.auditor, "/keys/production/SETTINGS/")
    stops = re.findall(r'class="btn w-100 mb-2 (btn[\w-]*)"\s+formaction="([^"]+)"', text)
    assert stops == [
        ("btn-danger", "/environments/production/stop"),
        ("btn-outline-danger", "/environments/qa/stop"),
    ]
    assert 'popovertarget="stop-menu"' in text


def test_return_in_the_reason_stops_nothing_on_a_page_of_no_environment(
    estate: make.Estate, people: make.People
) -> None:
    form = page(people.auditor).partition('id="stop-menu"')[2].partition("</form>")[0]
    assert re.findall(r"<button type=\"submit\"( hidden disabled)?", form) == [" hidden disabled", "", ""]


def test_a_stopped_environment_is_not_stopped_again(estate: make.Estate, people: make.People) -> None:
    EmergencyStop.objects.create(environment=estate.qa.environment, by=people.auditor)
    form = page(people.operator).partition('id="stop-menu"')[2].partition("</form>")[0]
    assert "/environments/qa/stop" not in form.partition("csrfmiddlewaretoken")[2]
    assert "QA is stopped" in form


def test_somebody_without_a_role_has_neither_stop_nor_search(estate: make.Estate, people: make.People) -> None:
    text = page(people.nobody)
    assert "stop-menu" not in text
    assert "palette-input" not in text


def test_the_tab_of_a_run_under_way_begins_with_its_progress(people: make.People) -> None:
    made = run(done=42, total=100)
    text = page(people.operator, f"/runs/{made.pk}/")
    assert "<title>42 % · " in text
    assert "data-moving" in text


def test_the_tab_of_a_run_that_is_over_has_no_progress(people: make.People) -> None:
    made = run(state="succeeded", done=100, total=100, finished_at="2026-01-01T00:00Z")
    text = page(people.operator, f"/runs/{made.pk}/")
    assert "<title>100 %" not in text
    assert "data-moving" not in text
