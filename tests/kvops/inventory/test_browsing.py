"""What the key pages ask of the inventory."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.core.management import CommandError
from django.db import connection
from django.db.models import Q

from kvops.inventory import browse, scan as inventory_scan
from kvops.models import Key, Scan
from tests import make

NAMES = [
    "tab\there",
    "施設:東京",
    "施設:大阪",
    "caf\u00e9",
    "cafe\u0301",
    "😀",
    "a/b",
    "a b",
    "Case",
    "case",
    "\\N",
    "50%",
]


def scan(estate: make.Estate, prefix: str = "") -> Scan:
    """A scan of QA, worked off."""
    started = inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)
    make.work()
    return started


def test_pages_of_keys_follow_each_other_by_name(estate: make.Estate) -> None:
    for name in NAMES:
        estate.put(estate.qa, name)
    scan(estate)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = browse.keys(estate.qa, after=after, limit=5)
        found += [key.name for key in page]
    assert found == sorted(NAMES)


def test_keys_are_found_by_prefix_category_family_and_expiration(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:1", expiration=4_000_000_000)
    for name in ("master:2", "mastercache:1", "other"):
        estate.put(estate.qa, name)
    scan(estate)
    family = Key.objects.get(name="master:1").family

    def found(**filters: object) -> list[str]:
        return [key.name for key in browse.keys(estate.qa, **filters).keys]  # type: ignore[arg-type]

    assert found(prefix="master:") == ["master:1", "master:2"]
    assert found(category="cache") == ["mastercache:1"]
    assert found(family=family) == ["master:1", "master:2"]
    assert found(prefix="master", expiring="any") == ["master:1"]
    assert found(category="legacy", expiring="any") == ["master:1"]
    assert found(category="legacy", expiring="none") == ["master:2"]
    assert found(expiring="soon", now=4_000_000_000 - 6 * 86400) == ["master:1"]
    assert found(expiring="soon", now=4_000_000_000 - 8 * 86400) == []
    assert found(prefix="nul\0") == []
    assert [key.name for key in Key.objects.sensitive()] == ["other"]


def test_a_page_looks_through_a_bounded_number_of_names(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "WINDOW", 4)
    for number in range(10):
        estate.put(estate.qa, f"master:{number}", expiration=None if number == 9 else 4_000_000_000)
    scan(estate)
    pages = [browse.keys(estate.qa, prefix="master:", expiring=browse.Expiring.NEVER)]
    while pages[-1].after is not None:
        pages.append(browse.keys(estate.qa, expiring=browse.Expiring.NEVER, after=pages[-1].after))
    assert [[key.name for key in page.keys] for page in pages] == [[], [], ["master:9"]]


def parts(estate: make.Estate, part: str, **filters: object) -> list[list[str]]:
    """The names on each page of the keys with this part."""
    pages = [browse.keys(estate.qa, part=part, **filters)]  # type: ignore[arg-type]
    while pages[-1].after is not None:
        pages.append(browse.keys(estate.qa, part=part, after=pages[-1].after, **filters))  # type: ignore[arg-type]
    return [[key.name for key in page.keys] for page in pages]


def test_keys_are_found_by_a_part_of_their_name(estate: make.Estate) -> None:
    for name in [*NAMES, "master:fax:1", "api:FAX", "api-key:fax"]:
        estate.put(estate.qa, name)
    scan(estate)
    assert parts(estate, "fax") == [["api-key:fax", "master:fax:1"]]
    assert parts(estate, "東") == [["施設:東京"]]
    assert parts(estate, "%") == [["50%"]]
    assert parts(estate, "\\N") == [["\\N"]]
    assert parts(estate, "fax", prefix="master:") == [["master:fax:1"]]
    assert parts(estate, "fax", category="legacy") == [["master:fax:1"]]
    assert parts(estate, "nul\0") == [[]]


def test_a_rare_part_is_found_in_one_page_and_a_common_one_in_windows(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "QUICK", 2)
    monkeypatch.setattr(browse, "WINDOW", 3)
    for number in range(8):
        estate.put(estate.qa, f"a:{number}")
        estate.put(estate.qa, f"b:all:{number}")
    estate.put(estate.qa, "c:rare:1")
    scan(estate)
    assert parts(estate, "rare") == [["c:rare:1"]]
    common = parts(estate, "all")
    assert [name for page in common for name in page] == [f"b:all:{number}" for number in range(8)]
    assert len(common) > 1
    assert [name for page in parts(estate, ":r") for name in page] == ["c:rare:1"]
    narrow = parts(estate, "all", limit=2)
    assert [name for page in narrow for name in page] == [name for page in common for name in page]
    assert max(map(len, narrow)) == 2


def test_a_page_that_looks_through_the_very_last_name_is_the_last_page(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        estate.put(estate.qa, f"a:{number}")
    scan(estate)
    monkeypatch.setattr(browse, "WINDOW", 3)
    assert parts(estate, ":") == [["a:0", "a:1", "a:2"]]
    monkeypatch.setattr(browse, "WINDOW", 2)
    assert parts(estate, ":") == [["a:0", "a:1"], ["a:2"]]


def test_the_part_of_a_name_has_a_trigram_index(estate: make.Estate) -> None:
    query = Key.objects.filter(name__contains="rare").order_by()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "key_by_part" in query.explain()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = on")


def test_a_role_that_may_not_create_the_extension_is_told_the_cure(db: None) -> None:
    migration = import_module("kvops.migrations.0002_triggers")
    with connection.cursor() as cursor:
        cursor.execute("DROP EXTENSION pg_trgm CASCADE")
        cursor.execute("CREATE ROLE kvops_may_not")
        cursor.execute("SET LOCAL ROLE kvops_may_not")
        with pytest.raises(
            CommandError, match=r"permission denied .*CREATE EXTENSION pg_trgm.* Then run migrate again"
        ):
            migration.create_extension(None, SimpleNamespace(connection=connection))
        cursor.execute("RESET ROLE")
        migration.create_extension(None, SimpleNamespace(connection=connection))
        cursor.execute("SET LOCAL ROLE kvops_may_not")
        migration.create_extension(None, SimpleNamespace(connection=connection))  # it is there, so nothing is asked
        cursor.execute("RESET ROLE")


def test_the_newest_scan_is_the_last_one_that_was_completed(estate: make.Estate) -> None:
    assert browse.newest_scan(estate.qa) is None
    first = scan(estate)
    second = scan(estate, "a:")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    assert browse.newest_scan(estate.qa) == second
    assert list(Scan.objects.complete().covering("a:b").order_by("pk")) == [first, second]
    assert list(Scan.objects.complete().covering("a")) == [first]


def test_the_tree_shows_the_next_level_with_its_counts(estate: make.Estate) -> None:
    for name in ("master:a:1", "master:a:2", "master:b:1", "master:c", "alone", "master", "施設:1"):
        estate.put(estate.qa, name)
    scan(estate)
    assert browse.groups(estate.qa) == [("master:", 4, False), ("施設:", 1, False)]
    assert browse.groups(estate.qa, "master:") == [("master:a:", 2, False), ("master:b:", 1, False)]
    assert browse.groups(estate.qa, "nul\0") == []


def test_a_page_that_finds_nothing_in_the_window_goes_on_behind_it(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "QUICK", 1)
    monkeypatch.setattr(browse, "WINDOW", 2)
    for number in range(6):
        estate.put(estate.qa, f"master:{number}")
    scan(estate)
    found, last = estate.qa.key_set.order_by("name"), Q(name="master:5")
    assert browse.page_of_names(found, Q(), part="master", limit=9, costly=last) == ([], "master:1")
    rows, after = browse.page_of_names(found.filter(name__gt="master:3"), Q(), part="master", limit=9, costly=last)
    assert ([key.name for key in rows], after) == (["master:5"], None)


def test_a_group_of_few_is_counted_no_further_than_the_matches(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "FEW_CAP", 2)
    for name in ("master:1", "master:2", "other:1", "other:2", "other:3"):
        estate.put(estate.qa, name)
    scan(estate)
    assert browse.groups(estate.qa) == [("master:", 2, False), ("other:", 2, True)]


def test_the_tree_is_bounded(estate: make.Estate) -> None:
    scan(estate)
    first_seen = Scan.objects.get()
    Key.objects.bulk_create(
        Key(namespace=estate.qa, name=f"{group:03}:{number}", first_seen=first_seen)
        for group in range(browse.MAX_GROUPS + 50)
        for number in range(1 if group else browse.GROUP_CAP + 1)
    )
    found = browse.groups(estate.qa)
    assert len(found) == browse.MAX_GROUPS
    assert found[0] == ("000:", browse.GROUP_CAP, True)
    assert found[-1] == (f"{browse.MAX_GROUPS - 1:03}:", 1, False)
