"""Two environments side by side."""

import pytest
from django.test import Client

from kvops.inventory import browse, scan as inventory_scan
from kvops.inventory.key_list import side_by_side
from kvops.inventory.key_list.side_by_side import PairKind
from tests import make
from tests.signing import signed_in

COMPARE = "/keys/qa/SETTINGS/compare/production/"
FAR = 4_000_000_000


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


@pytest.fixture
def both(estate: make.Estate) -> make.Estate:
    """One key of each kind, and two settings that differ in metadata only."""
    for namespace, own in ((estate.qa, "master:1"), (estate.production, "master:9")):
        there = namespace == estate.production
        estate.put(namespace, own)
        estate.put(namespace, "master:same", expiration=FAR)
        estate.put(namespace, "master:time", expiration=FAR + there)
        estate.put(namespace, "master:mark", metadata='{"v":2}' if there else '{"v":1}')
        estate.put(namespace, "system-root", metadata='{"token":"there"}' if there else '{"token":"here"}')
        inventory_scan.start_scan(namespace, actor=make.SETUP)
    make.work()
    return estate


def shown(client: Client, **filters: str) -> list[str]:
    return [row.name for row in client.get(COMPARE, filters).context["page"].rows]


def test_the_page_counts_and_lists_each_kind(auditor: Client, both: make.Estate) -> None:
    counts = {count.kind: (count.keys, count.more) for count in auditor.get(COMPARE).context["counts"]}
    assert counts == {"here": (1, False), "there": (1, False), "both": (4, False), "differing": (2, False)}
    assert shown(auditor, show="here") == ["master:1"]
    assert shown(auditor, show="there") == ["master:9"]
    assert shown(auditor, show="both") == ["master:mark", "master:same", "master:time", "system-root"]
    assert shown(auditor, show="differing") == ["master:mark", "master:time"]
    assert shown(auditor, prefix="master:m") == ["master:mark"]
    assert shown(auditor, prefix="nul[U+0000]") == []


def test_a_row_shows_a_category_only_where_it_differs(auditor: Client, both: make.Estate) -> None:
    shared, rows = auditor.get(COMPARE).content.decode().split("<tbody>")
    assert "All rows, unless one says otherwise" in shared
    assert rows.split("</table>")[0].count('<span class="status ') == 1


def test_two_expirations_that_look_alike_tell_how_far_they_are_apart(auditor: Client, both: make.Estate) -> None:
    text = auditor.get(COMPARE, {"show": "differing"}).content.decode()
    assert "Expiration, about 1 second apart" in text
    assert text.count("apart") == 1


def test_metadata_of_settings_is_not_compared(auditor: Client, both: make.Estate) -> None:
    text = auditor.get(COMPARE, {"show": "both"}).content.decode()
    assert "Metadata of settings and unclassified keys is left out." in text
    assert "&quot;token" not in text


def test_the_page_says_that_values_are_not_compared_and_where_they_are(auditor: Client, both: make.Estate) -> None:
    text = auditor.get(COMPARE, {"prefix": "master:"}).content.decode()
    assert "values are not" in text
    assert "/backups/?environment=qa&amp;prefix=master%3A" in text


def test_pages_follow_each_other_and_each_looks_through_a_bounded_number_of_names(
    both: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "QUICK", 1)
    monkeypatch.setattr(side_by_side, "WINDOW", 2)
    names, after = list[str](), ""
    for _page in range(9):
        page = side_by_side.pairs(both.qa, both.production, kind=PairKind.DIFFERING, after=after, limit=1)
        names += [row.name for row in page.rows]
        if page.after is None:
            break
        after = page.after
    assert names == ["master:mark", "master:time"]
    assert browse.WINDOW > 2


def test_a_count_that_did_not_look_through_all_names_says_so(
    auditor: Client, both: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "WINDOW", 3)
    assert all(count.more for count in auditor.get(COMPARE).context["counts"])
    monkeypatch.setattr(side_by_side, "WINDOW", browse.WINDOW)
    monkeypatch.setattr(side_by_side, "CAP", 1)
    found = {count.kind: (count.keys, count.more) for count in auditor.get(COMPARE).context["counts"]}
    assert found["both"] == (1, True)
    assert found["here"] == (1, False)


@pytest.mark.parametrize("address", ["/keys/qa/SETTINGS/compare/qa/", "/keys/qa/SETTINGS/compare/nowhere/"])
def test_a_namespace_has_no_other_side_in_itself(auditor: Client, both: make.Estate, address: str) -> None:
    assert auditor.get(address).status_code == 404


def test_an_empty_comparison_says_what_comes_next(auditor: Client, estate: make.Estate) -> None:
    assert "Scan both namespaces first" in auditor.get(COMPARE).content.decode()


def test_a_key_leads_to_the_other_environment_and_to_both_side_by_side(auditor: Client, both: make.Estate) -> None:
    text = auditor.get("/key/qa/SETTINGS/", {"name": "master:time"}).text
    assert 'href="/key/production/SETTINGS/?name=master%3Atime"' in text
    assert f'href="{COMPARE}?prefix=master%3Atime"' in text
