"""The list of keys beyond one page by name: match count, tree, order, ticked keys."""

import pytest
from django.db import connection
from django.test import Client

from kvops.inventory import scan as inventory_scan
from kvops.inventory.browse import Expiring
from kvops.inventory.forms import KeyFilter
from kvops.inventory.key_list import matching, order as key_order
from kvops.inventory.key_list.order import KeyOrder, KeyPlace
from kvops.inventory.key_list.query import KeyQuery
from kvops.models import Key, Namespace, Scan
from tests import make
from tests.signing import signed_in

QA = "/keys/qa/SETTINGS/"
NAMES = ["alone", "master:a:1", "master:a:2", "master:b:1", "mastercache:1", "other:1"]


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def scanned(estate: make.Estate, *names: str, **more: object) -> None:
    for name in names:
        estate.put(estate.qa, name, b"{}", **more)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def many(namespace: Namespace, number: int, **more: object) -> None:
    """Keys of the inventory, past the scan."""
    first_seen = Scan.objects.latest("pk")
    Key.objects.bulk_create(
        Key(namespace=namespace, name=f"many:{at % 7}:{at:05}", first_seen=first_seen, **more) for at in range(number)
    )


def matched(namespace: Namespace, **filters: object) -> tuple[int, bool]:
    found = matching.count(KeyQuery(namespace, **filters))  # type: ignore[arg-type]
    return found.keys, found.more


def in_order(namespace: Namespace, order: KeyOrder, **filters: object) -> list[str]:
    """The names of all pages in an order, two a page."""
    query = KeyQuery(namespace, **filters)  # type: ignore[arg-type]
    matches = None if query.is_everything else matching.count(query, places=True)
    names, after = list[str](), None
    while True:
        page = key_order.page(query, matches, order, after=after, limit=2)
        names += [key.name for key in page.keys]
        if page.after is None:
            return names
        after = KeyPlace.read(page.after)


# The number of matches, and the tree


def test_the_number_of_matches_follows_every_filter(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:soon", expiration=4_000_000_000)
    scanned(estate, *NAMES)
    family = Key.objects.get(name="master:a:1").family
    assert matched(estate.qa, prefix="master:") == (4, False)
    assert matched(estate.qa, category="legacy") == (4, False)
    assert matched(estate.qa, family=family, part="r:a") == (2, False)
    assert matched(estate.qa, part="master") == (5, False)
    assert matched(estate.qa, part=":1:") == (0, False)
    assert matched(estate.qa, prefix="master:", expiring=Expiring.NEVER) == (3, False)
    assert matched(estate.qa, expiring=Expiring.ANY) == (1, False)
    assert matched(estate.qa, expiring=Expiring.SOON, now=4_000_000_000 - 6 * 86400) == (1, False)
    assert matched(estate.qa, prefix="nul\0") == (0, False)


@pytest.mark.parametrize("filters", [{"prefix": "many:"}, {"part": "any:"}, {"expiring": Expiring.NEVER}])
def test_more_matches_than_the_cap_are_not_counted(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, filters: dict[str, object]
) -> None:
    monkeypatch.setattr(matching, "CAP", 10)
    scanned(estate, "alone")
    many(estate.qa, 9)
    assert matched(estate.qa, prefix="many:") == (9, False)
    Key.objects.filter(name="alone").delete()
    Key.objects.create(namespace=estate.qa, name="many:8", first_seen=Scan.objects.get())
    assert matched(estate.qa, **filters) == (10, False)
    Key.objects.create(namespace=estate.qa, name="many:9", first_seen=Scan.objects.get())
    assert matched(estate.qa, **filters) == (10, True)


def test_a_count_without_an_index_looks_through_a_bounded_number_of_names(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "LOOKED", 4)
    scanned(estate, "alone")
    many(estate.qa, 9)
    text = operator.get(QA, {"prefix": "many:", "expiring": "none"}).content.decode()
    assert "At least 4 keys match" in text
    assert "Narrow the list down by a prefix" in text
    monkeypatch.setattr(matching, "LOOKED", 9)
    text = operator.get(QA, {"prefix": "many:", "expiring": "none"}).text
    assert "9 keys match" in text
    assert "At least" not in text  # these were all names


def test_the_page_says_how_many_keys_match(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *NAMES)
    assert "3 keys match" in operator.get(QA, {"prefix": "master:"}).content.decode()
    assert "1 key matches" in operator.get(QA, {"part": "cache"}).content.decode()


def test_the_page_says_that_more_than_the_cap_match(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "CAP", 2)
    scanned(estate, *NAMES)
    assert "More than 2 keys match" in operator.get(QA, {"prefix": "master"}).content.decode()


@pytest.mark.parametrize(
    ("filters", "tree"),
    [
        ({"category": "legacy"}, [("master:", 3)]),
        ({"part": "ter:a"}, [("master:", 2)]),
        ({"part": "ter:", "prefix": "master:"}, [("a:", 2), ("b:", 1)]),
        ({"expiring": "none", "prefix": "ma"}, [("ster:", 3), ("stercache:", 1)]),
        ({"expiring": "any"}, []),
    ],
)
def test_the_tree_follows_the_filters(
    operator: Client, estate: make.Estate, filters: dict[str, str], tree: list[tuple[str, int]]
) -> None:
    scanned(estate, *NAMES)
    shown = operator.get(QA, filters).context["tree"]
    assert [(branch.label, branch.keys) for branch in shown] == tree


@pytest.mark.parametrize("cap", [10, 3])
def test_the_pages_of_a_part_are_the_same_whether_they_come_from_the_count_or_from_the_table(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, cap: int
) -> None:
    scanned(estate, *NAMES)
    monkeypatch.setattr(matching, "CAP", cap)
    form, pages = KeyFilter(estate.qa, {"part": "master"}), list[list[str]]()
    after: str | None = ""
    while after is not None:
        page = form.page(now=0.0, limit=2, after=after)
        pages, after = [*pages, [key.name for key in page.keys]], page.after
    assert pages == [["master:a:1", "master:a:2"], ["master:b:1", "mastercache:1"]]


def test_a_part_of_less_than_three_characters_is_refused_with_the_reason(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(QA, {"part": "ma"})
    assert "Type at least three characters" in answer.content.decode()
    assert not answer.context["page"].keys


# The orders


def test_the_orders_are_stable_over_pages(estate: make.Estate) -> None:
    for name, expiration in (("b", 4_000_000_000), ("a", 4_000_000_000), ("c", 3_999_999_999), ("d", None)):
        estate.put(estate.qa, name, expiration=expiration)
    scanned(estate, "z")
    scanned(estate, "e")
    qa = estate.qa
    assert in_order(qa, KeyOrder.EXPIRATION) == ["c", "a", "b", "d", "e", "z"]
    assert in_order(qa, KeyOrder.LATEST_EXPIRATION) == ["z", "e", "d", "b", "a", "c"]


@pytest.mark.parametrize("order", [order for order in KeyOrder if order])
def test_a_walk_and_a_sort_give_the_same_order(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, order: KeyOrder
) -> None:
    for number in range(6):
        estate.put(estate.qa, f"many:{number}", expiration=4_000_000_000 - number if number % 2 else None)
    scanned(estate, "alone")
    filters: dict[str, object] = {"prefix": "many:"}
    sorted_here = in_order(estate.qa, order, **filters)
    monkeypatch.setattr(matching, "CAP", 3)
    monkeypatch.setattr("kvops.inventory.browse.WINDOW", 2)
    assert in_order(estate.qa, order, **filters) == sorted_here
    assert sorted(sorted_here) == [f"many:{number}" for number in range(6)]


def test_an_index_gives_each_order(estate: make.Estate) -> None:
    scanned(estate, "alone")
    many(estate.qa, 3_000, expiration=4_000_000_000)
    scan = Scan.objects.get()
    Key.objects.bulk_create(Key(namespace=estate.qa, name=f"never:{n}", first_seen=scan) for n in range(3_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE kvops_key")
    for order in (order for order in KeyOrder if order):
        walk = key_order.walk(KeyQuery(estate.qa), order, 50)
        for value in (4_000_000_000, None):
            place = KeyPlace(value, "many:3:00003") if value else None
            plan = walk.stretch(place, without=value is None)[:51].explain()
            assert ("key_by_expiration" in plan, "Sort" in plan) == (True, False), order


def test_the_heads_of_the_columns_sort(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *NAMES)
    text = operator.get(QA, {"prefix": "master", "sort": "expiration"}).content.decode()
    assert text.count("aria-sort=") == 1
    assert 'aria-sort="ascending"' in text
    assert "?prefix=master&amp;sort=-expiration" in text


@pytest.mark.parametrize("after", ["nonsense", "x:master:1", f"{2**63}:a", "1:", "-5:a", "1:nul\0"])
def test_a_place_that_an_order_does_not_have_is_refused(operator: Client, estate: make.Estate, after: str) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(QA, {"sort": "expiration", "after": after})
    assert answer.status_code == 200
    assert not answer.context["page"].keys


# The rows


def test_a_row_shows_a_category_only_where_it_differs(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(QA)
    rows = {row.key.name: row.category for row in answer.context["rows"]}
    assert rows["master:a:1"] == "legacy"  # three of six are not the most
    answer = operator.get(QA, {"prefix": "master"})
    assert answer.context["shared"].category == "legacy"
    assert {row.key.name: row.category for row in answer.context["rows"] if row.category} == {"mastercache:1": "cache"}
    assert "All rows, unless one says otherwise" in answer.content.decode()


# What can be done with all of them, and with the ticked ones


@pytest.mark.parametrize(
    ("filters", "offered"),
    [
        ({"prefix": "master:"}, ["cleanup", "backup"]),
        ({"prefix": "mastercache:"}, ["cleanup", "backup", "expiration"]),
        ({"prefix": "mastercache:", "part": "cache"}, []),
        ({"prefix": "mastercache:", "expiring": "none"}, ["expiration"]),
        ({"prefix": "master", "category": "cache"}, []),
        ({"prefix": "other:"}, ["backup"]),
        ({"category": "cache"}, []),
    ],
)
def test_only_a_page_that_takes_exactly_the_matches_is_offered(
    operator: Client, estate: make.Estate, filters: dict[str, str], offered: list[str]
) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(QA, filters)
    assert [offer.action for offer in answer.context["offers"]] == offered
    assert len(answer.context["offers"]) + len(answer.context["why_not"]) == 3
    assert ("Why not more?" in answer.content.decode()) == (len(offered) < 3)
    assert ("All of them:" in answer.content.decode()) == bool(offered or answer.context["clearable"])


@pytest.mark.parametrize(
    ("action", "keys", "address"),
    [
        ("cleanup", ["master:a:1"], "/cleanup/new/?binding=SETTINGS&prefix=master%3Aa%3A1&exact=1"),
        ("cleanup", ["master:a:1", "master:a:2"], "/cleanup/new/?binding=SETTINGS&prefix=master%3Aa%3A"),
        ("backup", ["alone", "other:1"], "/backups/new/?env=qa&binding=SETTINGS&prefix=alone&prefix=other%3A1"),
        (
            "expiration",
            ["mastercache:1"],
            "/changes/bulk/new/qa/SETTINGS/?prefix=mastercache%3A1&scope=&operation=expiration",
        ),
    ],
)
def test_ticked_keys_lead_to_the_page_that_takes_exactly_these(
    operator: Client, estate: make.Estate, action: str, keys: list[str], address: str
) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(f"{QA}ticked", {"do": action, "key": keys})
    assert answer["Location"] == address
    assert operator.get(address).status_code == 200


@pytest.mark.parametrize(
    ("action", "keys", "reason"),
    [
        ("cleanup", ["master:a:1", "master:b:1"], "other keys begin like the ticked ones"),
        ("expiration", ["master:a:1"], "Expirations are set for the keys of one cache"),
        ("expiration", ["alone", "other:1"], "other keys begin like the ticked ones"),
        ("backup", [], "Tick at least one key"),
    ],
)
def test_ticked_keys_that_no_page_takes_are_said_with_the_reason(
    operator: Client, estate: make.Estate, action: str, keys: list[str], reason: str
) -> None:
    scanned(estate, *NAMES)
    answer = operator.get(f"{QA}ticked", {"do": action, "key": keys, "back": "prefix=master"}, follow=True)
    assert answer.redirect_chain == [(f"{QA}?prefix=master", 302)]
    assert reason in answer.content.decode()


def test_the_limits_of_ticked_keys_are_said_before_the_click(
    operator: Client, people: make.People, estate: make.Estate
) -> None:
    scanned(estate, *NAMES)
    limits = ("A clean-up takes one key", "at most 20 keys", "all keys of a prefix of one cache")
    assert all(limit in operator.get(QA).content.decode() for limit in limits)
    assert not any(limit in signed_in(people.auditor).get(QA).content.decode() for limit in limits)


def test_an_unknown_action_for_ticked_keys_is_not_found(operator: Client, estate: make.Estate) -> None:
    assert operator.get(f"{QA}ticked", {"do": "burn", "key": "alone"}).status_code == 404
