"""Every page takes few queries and is small, and a list takes no more of them for more rows."""

import re

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.actions import Action
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.inventory.families import count_keys
from kvops.models import Family, Key, Namespace, Scan
from tests import make
from tests.audit.make import write
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.kvops.approvals.test_pages import ask
from tests.signing import signed_in
from tests.test_doors import DOORS, VISITORS, DoorsWorld, world

__all__ = ["world"]

MOST, LARGEST = 30, 300 * 1024
"""Queries of a page, with those of its frame, and bytes of its HTML."""

OVERVIEW = 60
"""Queries of the first page, which asks for everything that may be wrong."""

LISTS = (
    "/approvals/",
    "/audit/",
    "/backups/",
    "/backups/history/",
    "/keys/qa/SETTINGS/",
    "/people/",
    "/retention/",
    "/runs/",
    "/schedules/",
)


def asked(browser: Client, address: str) -> tuple[int, int]:
    """The queries and the bytes of a page.

    The savepoints are those of the test. How often a call to Cloudflare is paid for depends on the time that it takes.
    """
    with CaptureQueriesContext(connection) as queries:
        size = len(b"".join(browser.get(address)))
    return sum(not re.search("SAVEPOINT|kvops_budget", query["sql"]) for query in queries), size


def test_every_page_takes_few_queries_and_is_small(world: DoorsWorld, people: make.People) -> None:
    browser, at = signed_in(people.operator), VISITORS.index("operator")
    queries, sizes = {}, {}
    for name, door in DOORS.items():
        if door.get[at] == 200:
            before = transaction.savepoint_create()
            queries[name], sizes[name] = asked(browser, reverse(name, args=door.at(world)) + door.query)
            transaction.savepoint_rollback(before)
    assert queries.pop("home") <= OVERVIEW
    assert {name: found for name, found in queries.items() if found > MOST} == {}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


@pytest.mark.django_db
def test_a_list_takes_no_more_queries_for_more_rows(estate: make.Estate, people: make.People) -> None:
    tried = f"/retention/?family={Family.objects.get(binding='SETTINGS', pattern='master:').pk}&days=20"
    browser, numbers = signed_in(people.operator), dict.fromkeys([*LISTS, tried], 0)
    for rows in (range(3), range(3, 12)):
        for number in rows:
            more_rows(estate, people, number)
        counted = {address: asked(browser, address)[0] for address in numbers}
        grown = {address: (numbers[address], found) for address, found in counted.items() if found != numbers[address]}
        assert not (rows[0] and grown), grown
        numbers = counted


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["/keys/", "/keys/?days=365", "/storage/?days=365", "/cleanup/new/", "/categories/shapes/"]
)
def test_a_page_takes_no_more_queries_for_more_namespaces(
    estate: make.Estate, people: make.People, address: str
) -> None:
    browser, counted = signed_in(people.operator), []
    for number in range(4):
        more = Namespace(environment=estate.qa.environment, binding=f"MORE{number}", namespace_id=f"{number:032}")
        more.save()
        run = backup_of_age(estate.qa, number + 2).run
        Scan.objects.create(namespace=more, run=run, keys=1, completed_at=Now())
        counted.append(asked(browser, address)[0])
    assert counted[0] == counted[-1] <= MOST


@pytest.mark.django_db
@pytest.mark.parametrize("filters", ["prefix=master:", "part=master:1", "family={family}", "category=legacy"])
def test_a_filtered_list_of_keys_takes_few_queries(estate: make.Estate, people: make.People, filters: str) -> None:
    more_rows(estate, people, 1)
    family = Family.objects.get(binding="SETTINGS", pattern="master:")
    Key.objects.update(family=family, category=family.category)
    with transaction.atomic():
        count_keys(Scan.objects.get())
        Scan.objects.update(completed_at=Now())
    address = "/keys/qa/SETTINGS/?" + filters.format(family=family.pk)
    assert asked(signed_in(people.operator), address)[0] <= MOST


@pytest.mark.django_db
def test_the_page_of_a_key_takes_no_more_queries_for_a_longer_story(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    cleanup_helpers.estate_with_masters(estate)
    browser, name, counted = signed_in(people.operator), cleanup_helpers.NAMES[0], []
    pages = [f"/key/{slug}/SETTINGS/?name={name}" for slug in ("qa", "production")]
    counted.append([asked(browser, page)[0] for page in pages])
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    cleanup_helpers.scan(estate.qa)
    counted.append([asked(browser, page)[0] for page in pages])
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    counted.append([asked(browser, page)[0] for page in pages])
    assert max(map(max, counted)) <= MOST
    assert counted[0] == counted[1] == counted[2]


def more_rows(estate: make.Estate, people: make.People, number: int) -> None:
    """A backup, its run, an approval, a key, a person and an entry of the audit log more."""
    made = backup_of_age(estate.qa, 2, prefixes=[f"master:{number}:"])
    write(Action.GENERATION_VERIFIED, subject=f"generation:{made.pk}")
    ask(people.operator2, estate.qa.environment, f"stage:{number + 100}")
    scan, _new = Scan.objects.get_or_create(namespace=estate.qa, run=made.run, defaults={"keys": 1})
    Key.objects.create(namespace=estate.qa, name=f"master:{number}:x", first_seen=scan)
    make.person(f"reader{number}")
