"""Keys without an expiration: counted with each scan, told when they lack what their family is designed for."""

import re

import pytest

from audit import log
from audit.actions import Action
from audit.models import Entry
from kvops.inventory import families as key_families, own_changes, scan as inventory_scan
from kvops.inventory.forms import KeyFilter
from kvops.models import Category, Family, Notification, NotificationEvent, Scan, ScanCount
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
LATER = 4_000_000_000


def scan(estate: make.Estate) -> Scan:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def counts(scan: Scan) -> dict[str, tuple[int | None, ...]]:
    return {one.pattern: (one.keys, one.without_expiration, one.lacking) for one in scan.counts.all()}


@pytest.fixture
def forgotten(estate: make.Estate, people: make.People) -> Scan:
    """A cache designed with a ttl, two keys of which have none."""
    for name in ("mastercache:a", "mastercache:b"):
        estate.put(estate.qa, name)
    estate.put(estate.qa, "mastercache:c", expiration=LATER)
    estate.put(estate.qa, "master:a:1")
    return scan(estate)


def test_a_scan_counts_the_keys_that_never_expire_and_those_that_should(forgotten: Scan) -> None:
    assert counts(forgotten) == {"mastercache:*": (3, 2, 2), "master:*": (1, 1, 0)}


def test_a_new_design_counts_the_newest_scan_again(forgotten: Scan) -> None:
    make.change_families("mastercache:", expiry="none")
    key_families.count_keys(forgotten)
    assert counts(forgotten)["mastercache:*"] == (3, 2, 0)


MARKS = {
    '{"stale": true}': 0,
    '{"stale": null}': 0,
    '{"other": {"stale": 1}}': 1,
    '"stale"': 1,
    '["stale"]': 1,
    '{"other": "\\u0000"}': 1,
    '{"other": 1e999999}': 1,
    "null": 1,
}


@pytest.mark.parametrize("metadata", MARKS)
def test_the_mark_that_a_family_names_is_a_member_of_the_metadata(estate: make.Estate, metadata: str) -> None:
    family = make.family("marked:", Category.CACHE, expiry="regenerate:stale")
    estate.put(estate.qa, "marked:a", metadata=metadata)
    estate.put(estate.qa, "marked:none")
    assert counts(scan(estate))["marked:*"] == (2, 2, 1 + MARKS[metadata])
    page = signed_in(make.everybody().auditor).get(f"/keys/qa/SETTINGS/?family={family.pk}&expiring=lacking")
    assert [key.name for key in page.context["page"].keys] == ["marked:a"] * MARKS[metadata] + ["marked:none"]


def test_without_a_named_mark_a_key_to_regenerate_must_expire(estate: make.Estate) -> None:
    make.family("again:", Category.CACHE, expiry="regenerate")
    estate.put(estate.qa, "again:a", metadata='{"stale": true}')
    assert counts(scan(estate))["again:*"] == (1, 1, 1)


def told() -> list[Notification]:
    return list(Notification.objects.filter(event=NotificationEvent.KEY_LACKS_EXPIRY))


def test_the_team_is_told_once_and_again_when_there_are_more(forgotten: Scan, estate: make.Estate) -> None:
    assert {(one.title, one.link, *one.lines) for one in told()} == {
        (
            "qa/SETTINGS: 2 keys lack the expiry of their family",
            "/expiry/",
            "mastercache:*: 2 without an expiration. Have the application set one, or clear the keys.",
        )
    }
    scan(estate)
    assert len(told()) == 3
    estate.put(estate.qa, "mastercache:d")
    scan(estate)
    assert len(told()) == 6
    assert [one.details["keys"] for one in Entry.objects.filter(action=Action.EXPIRY_LACKING)] == [2, 3]


def test_the_page_shows_the_count_of_an_earlier_scan_only_where_it_changed(
    forgotten: Scan, estate: make.Estate, people: make.People
) -> None:
    scan(estate)
    row = signed_in(people.auditor).get("/expiry/").context["namespaces"][0].rows[0]
    assert (len(row.earlier), [number for _at, number in row.changes]) == (2, [row.earlier[0][1]])
    estate.put(estate.qa, "mastercache:another")
    scan(estate)
    row = signed_in(people.auditor).get("/expiry/").context["namespaces"][0].rows[0]
    assert [number for _at, number in row.changes] == [row.earlier[0][1], row.earlier[0][1] + 1]


def test_the_figures_of_a_scan_say_that_our_own_changes_are_in_them(
    forgotten: Scan, estate: make.Estate, people: make.People
) -> None:
    with log.transaction():
        own_changes.remove(estate.qa, ["mastercache:a"])
    page = signed_in(people.auditor).get("/expiry/")
    assert page.context["namespaces"][0].rows[0].earlier[-1][1] == 1
    assert "The figures of a scan include what KVOps itself changed until the next scan." in page.text
    assert "Earlier scans" not in page.text


def test_the_overview_and_the_page_show_it_until_it_is_over(
    forgotten: Scan, estate: make.Estate, people: make.People
) -> None:
    browser = signed_in(people.auditor)
    assert "qa/SETTINGS: 2 keys lack the expiry of their family" in browser.get("/").text
    family = Family.objects.get(pattern="mastercache:")
    shown = browser.get("/expiry/").text
    address = f"/keys/qa/SETTINGS/?family={family.pk}&amp;expiring="
    assert f'{address}none">2</a>' in shown
    assert f'{address}lacking">' in shown
    for name in ("mastercache:a", "mastercache:b"):
        estate.put(estate.qa, name, expiration=LATER)
    scan(estate)
    assert "lack the expiry of their family" not in browser.get("/").text
    assert browser.get("/expiry/").context["namespaces"][0].rows[0].earlier[-1][1] == 1


def test_the_trend_has_the_last_scan_of_each_day_for_the_caches_or_one_family(
    forgotten: Scan, people: make.People
) -> None:
    browser = signed_in(people.auditor)
    page = browser.get("/expiry/")
    assert [(environment.slug, number) for environment, _day, number in page.context["trend"]] == [("qa", 2)]
    assert re.search(r"<td[^>]*>QA</td>\s*<td[^>]*>2</td>", page.text)
    legacy = Family.objects.get(pattern="master:")
    assert [number for *_, number in browser.get("/expiry/", {"family": legacy.pk}).context["trend"]] == [1]
    assert [number for *_, number in browser.get("/expiry/", {"family": 0}).context["trend"]] == [2]


def test_scans_from_before_the_counts_are_no_trend(forgotten: Scan, people: make.People) -> None:
    ScanCount.objects.update(without_expiration=None, lacking=None)
    browser = signed_in(people.auditor)
    page = browser.get("/expiry/")
    assert page.context["trend"] == []
    assert "The next scan does." in page.text
    assert "lack the expiry" not in browser.get("/").text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_without_a_scan_the_page_says_what_comes_next(estate: make.Estate, people: make.People, language: str) -> None:
    browser = signed_in(people.auditor)
    browser.cookies["django_language"] = language
    sentence = {"en": "each scan counts the keys without an expiration", "ja": "スキャンのたびに"}[language]
    assert sentence in browser.get("/expiry/").text


def test_the_filter_of_lacking_keys_needs_a_family(forgotten: Scan, people: make.People) -> None:
    browser = signed_in(people.auditor)
    assert not browser.get("/keys/qa/SETTINGS/", {"expiring": "lacking"}).context["page"].keys
    legacy = Family.objects.get(pattern="master:")
    page = browser.get(f"/keys/qa/SETTINGS/?family={legacy.pk}&expiring=lacking")
    assert not page.context["page"].keys


def test_no_clean_up_is_of_another_family_than_the_keys_shown(estate: make.Estate) -> None:
    outer = Family.objects.get(pattern="mastercache:")
    inner = make.family("mastercache:b:", Category.CACHE)
    shown = {"prefix": "mastercache:b:", "expiring": "none"}
    assert KeyFilter(estate.qa, {**shown, "family": str(inner.pk)}).is_clearable
    assert KeyFilter(estate.qa, shown).is_clearable
    assert not KeyFilter(estate.qa, {**shown, "family": str(outer.pk)}).is_clearable
