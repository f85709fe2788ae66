"""A pattern or a name is tried on the page of categories."""

import pytest
from django.test import Client

from kvops.inventory import impact
from kvops.models import Category
from tests import make
from tests.backups.families.registering import scanned, text_of
from tests.signing import signed_in


@pytest.fixture
def auditor(people: make.People, estate: make.Estate) -> Client:
    for pattern, exact in (("a:", False), ("a:b:", False), ("a:b:", True)):
        make.family(pattern, Category.CACHE, exact=exact, expiry="regenerate")
    return signed_in(people.auditor)


WINNERS = {
    "a:x": ("a:*", "No other pattern matches", []),
    "a:b:c": ("a:b:*", "the longest that matches", ["a:*"]),
    "a:b:": ("a:b:", "An exact name wins", ["a:b:*", "a:*"]),
    "b": ("", "treated as settings", []),
}


@pytest.mark.parametrize("name", WINNERS)
def test_the_winner_of_a_name_is_told_with_the_reason(auditor: Client, name: str) -> None:
    winner, why, others = WINNERS[name]
    found = impact.look_up("SETTINGS", name)
    assert [str(family) for family in found.matching] == [one for one in (winner, *others) if one]
    assert why in text_of(auditor, f"/categories/?binding=SETTINGS&name={name}")


def test_a_pattern_is_tried_with_its_overlaps_and_counts(auditor: Client, estate: make.Estate) -> None:
    scanned(estate, "a:1", "a:b:1", "a:b:2", "a:bx", "other")
    found = impact.try_pattern("SETTINGS", "a:b", "settings", exact=False)
    assert (str(found.parent), [str(one) for one in found.inside]) == (
        "SETTINGS a:*", ["SETTINGS a:b:*", "SETTINGS a:b:"]
    )  # fmt: skip
    qa = found.rows[0]
    assert (qa["keys"], qa["before"], qa["after"], qa["recategorised"]) == (1, 2, 1, 1)
    assert "2 → 1" in text_of(auditor, "/categories/?pattern=a:b&category=settings")


def test_unclassified_keys_are_counted_for_a_pattern_of_their_own(auditor: Client, estate: make.Estate) -> None:
    scanned(estate, "x:1", "x:2", "y")
    qa, production = impact.try_pattern("SETTINGS", "x:", "cache", exact=False).rows
    assert (qa["keys"], qa["before"], qa["after"], qa["unmasked"]) == (2, 3, 1, 2)
    assert (production["scan"], production["before"]) == (None, None)


def test_the_count_for_a_tried_pattern_ends_and_says_so(
    auditor: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact, "TRIED", 2)
    scanned(estate, "x:1", "x:2", "x:3", "y")
    qa = impact.try_pattern("SETTINGS", "x:", "cache", exact=False).rows[0]
    assert (qa["keys"], qa["before"], qa["after"], qa["at_least"]) == (2, 4, None, True)
    shown = " ".join(text_of(auditor, "/categories/?pattern=x:&category=cache").split())
    assert "0 → 2+" in shown
    assert "the count stopped at 2 keys" in shown
    assert "4 → " not in shown


def test_a_pattern_of_the_policy_says_so(auditor: Client) -> None:
    shown = text_of(auditor, "/categories/?pattern=a:")
    assert "The policy has this pattern already" in shown
    assert impact.try_pattern("SETTINGS", "a:", "cache", exact=False).rows == []


@pytest.mark.parametrize("query", ["pattern=a:*", "binding=OTHER&name=a", "category=x&pattern=a", "name=%00"])
def test_a_field_that_cannot_be_read_is_refused(auditor: Client, query: str) -> None:
    assert auditor.get(f"/categories/?{query}").status_code == 422


def test_an_operator_starts_the_form_from_a_tried_pattern(estate: make.Estate, people: make.People) -> None:
    operator = signed_in(people.operator)
    shown = text_of(operator, "/categories/?pattern=x:&category=settings&name=x:1")
    link = "/categories/new/?binding=SETTINGS&pattern=x%3A&category=settings&sample_key=x%3A1"
    assert f'href="{link}"' in shown
    form = text_of(operator, link)
    assert 'value="x:"' in form
    assert '<option value="settings" selected>' in form
