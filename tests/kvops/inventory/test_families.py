"""Families: which one a name belongs to, and what a new set of them does to the inventory."""

import pytest
from django.db import connection

from audit import log
from kvops.environments.toml import DefinitionRefused, load
from kvops.inventory import families as key_families, scan as inventory_scan
from kvops.inventory.families import Families
from kvops.models import Category, Family, Key
from kvops.names import after_prefix, storable
from tests import make

FAMILY = """\
[[family]]
binding = "SETTINGS"
pattern = "master:"
category = "legacy"
owner = "platform"
expiry = "none"
"""


def families(*patterns: str) -> Families:
    """Families of these patterns; one that begins with `=` is exact."""
    return Families(
        Family(pk=number, pattern=pattern.removeprefix("="), exact=pattern.startswith("="), category=Category.CACHE)
        for number, pattern in enumerate(patterns, 1)
    )


def scanned(estate: make.Estate, *names: str) -> None:
    for name in names:
        estate.put(estate.qa, name)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def assigned() -> dict[str, str]:
    """The family of every key, by name, as the inventory has it."""
    return {key.name: str(key.family or "") for key in Key.objects.select_related("family")}


def apply(text: str) -> None:
    with log.transaction():
        key_families.replace(key_families.read_families(load(text)))


# Matching


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("a", "a*"),
        ("ab", "ab*"),
        ("abc", "abc"),  # exact
        ("abcd", "ab*"),
        ("a:b", "a:b"),  # exact wins over the prefix of equal length
        ("a:bc", "a:b*"),
        ("b", "None"),
        ("", "None"),
        ("A", "None"),
    ],
)
def test_the_longest_match_wins_and_exact_before_prefix(name: str, owner: str) -> None:
    assert str(families("a", "ab", "=abc", "a:b", "=a:b").family(name)) == owner


def test_composed_and_decomposed_names_are_different_names() -> None:
    found = families("caf\u00e9:")
    assert found.family("caf\u00e9:1") is not None
    assert found.family("cafe\u0301:1") is None


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("a:", "a;"), ("\ud7ff", "\ue000"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("施設", "施訮")],
)
def test_a_prefix_ends_where_the_next_text_begins(prefix: str, end: str | None) -> None:
    assert after_prefix(prefix) == end


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_what_postgres_cannot_hold_is_known(name: str) -> None:
    assert not storable(name)


# Reading


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"legacy"', '"unclassified"', "family 1, category: takes one of settings, cache, legacy"),
        ('"master:"', '"master:*"', "leave out the"),
        ('"master:"', '"a\\u0000"', "without NUL"),
        ('expiry = "none"', 'expiry = "soon"', "takes none, ttl:<seconds> or regenerate"),
        ('expiry = "none"', 'expiry = "regenerate:"', "takes none, ttl:<seconds> or regenerate"),
        ('expiry = "none"', "", "family 1, expiry: is missing"),
        ('owner = "platform"', 'ownr = "platform"', "family 1, owner: is missing"),
        ('"legacy"', '"cache"', "neither has a ttl nor is regenerated"),
        ("[[family]]", FAMILY + "[[family]]", r"The pattern SETTINGS master:\* is used twice"),
        ("[[family]]\n", '[[family]]\nread = "fast"\n', "takes one of bulk, exact"),
    ],
)
def test_a_family_that_is_not_clear_is_refused(old: str, new: str, sentence: str) -> None:
    with pytest.raises(DefinitionRefused, match=sentence):
        key_families.read_families(load(FAMILY.replace(old, new)))


def test_an_exact_and_a_prefix_pattern_that_look_alike_are_refused() -> None:
    twin = FAMILY.replace('"master:"', '"master:*"\nexact = true')
    with pytest.raises(DefinitionRefused, match="used twice"):
        key_families.read_families(load(FAMILY + twin))


# Applying


def test_new_families_assign_every_key_anew(estate: make.Estate) -> None:
    scanned(estate, "master:1", "master:2:x", "other")
    apply(FAMILY + FAMILY.replace('"master:"', '"master:2:"') + FAMILY.replace('"master:"', '"other"\nexact = true'))
    assert assigned() == {"master:1": "master:*", "master:2:x": "master:2:*", "other": "other"}


def test_the_database_and_python_agree_on_every_name(estate: make.Estate) -> None:
    names = ["master:", "master", "master:ー", "master;", "mastercache:1", "system-root", "system-root2", "\x01", "😀"]
    scanned(estate, *names)
    found = Families.of("SETTINGS")
    assert assigned() == {name: str(found.family(name) or "") for name in names}


def test_keys_that_stay_where_they_are_are_not_touched(estate: make.Estate) -> None:
    scanned(estate, "master:1", "mastercache:1")
    before = versions()
    apply(FAMILY)
    assert before["master:1"] == versions()["master:1"]
    assert before["mastercache:1"] != versions()["mastercache:1"]


def versions() -> dict[str, str]:
    """The physical version of every row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, ctid::text FROM kvops_key")
        return dict(cursor.fetchall())


def test_the_counts_of_the_newest_scan_follow(estate: make.Estate) -> None:
    scanned(estate, "master:1", "mastercache:1", "mastercache:2")
    apply(FAMILY)
    counts = {(row.category, row.pattern): row.keys for row in key_families.keys_by_family(estate.qa)}
    assert counts == {("legacy", "master:*"): 1, ("unclassified", ""): 2}


def test_a_binding_of_another_name_is_not_touched(estate: make.Estate) -> None:
    scanned(estate, "master:1")
    apply(FAMILY.replace('"SETTINGS"', '"OTHER"'))
    assert assigned() == {"master:1": ""}
