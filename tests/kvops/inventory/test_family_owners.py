"""The owner of a family is told of what concerns the family, if the owner is a known person."""

import json

import pytest

from kvops.inventory import families, scan as inventory_scan
from kvops.models import ApprovalRequest, Category, Family, Notification, NotificationEvent
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers


def told(event: NotificationEvent) -> set[str]:
    return set(Notification.objects.filter(event=event).values_list("person__name", flat=True))


def scanned(estate: make.Estate) -> None:
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


@pytest.mark.parametrize("owner", ["nobody@example.com", "NOBODY@example.com", "nobody"])
def test_an_owner_is_found_by_address_or_name(estate: make.Estate, people: make.People, owner: str) -> None:
    make.change_families("master:", owner=owner)
    assert families.owners([Family.objects.get(pattern="master:")]) == [people.nobody]
    assert [str(one) for one in families.without_owner(Family.objects.order_by("pattern"))] == [
        "mastercache:*", "system-root"
    ]  # fmt: skip


def test_a_team_is_nobody(estate: make.Estate, people: make.People) -> None:
    assert families.owners(Family.objects.all()) == []
    assert families.owners([]) == []


def test_unexpected_keys_are_told_to_the_owner_of_their_family(estate: make.Estate, people: make.People) -> None:
    make.change_families("master:", owner="nobody@example.com")
    scanned(estate)
    estate.put(estate.qa, "master:new")
    scanned(estate)
    assert told(NotificationEvent.KEY_UNEXPECTED) == {"Operator", "Operator2", "Reviewer", "Nobody"}


def test_unexplained_deletions_are_told_to_the_owner_of_their_family(estate: make.Estate, people: make.People) -> None:
    make.change_families("mastercache:", owner="nobody@example.com")
    make.change_families("master:", owner="auditor@example.com")
    estate.put(estate.qa, "mastercache:1")
    scanned(estate)
    estate.cloudflare.remove(estate.qa.namespace_id, "mastercache:1")
    scanned(estate)
    assert told(NotificationEvent.DELETION_UNEXPLAINED) == {"Operator", "Operator2", "Reviewer", "Nobody"}


def test_a_deletion_request_is_told_to_the_owner(estate: make.Estate, people: make.People) -> None:
    make.change_families("master:", owner="nobody@example.com")
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert told(NotificationEvent.APPROVAL_WAITING) == {"Reviewer", "Nobody"}


@pytest.mark.parametrize(
    ("prefix", "exact", "names"),
    [("master:", False, {"Nobody", "Auditor"}), ("master:a:1", True, {"Auditor"}), ("other", False, set())],
)
def test_the_owners_of_a_deletion_are_those_of_its_prefix(
    estate: make.Estate, people: make.People, prefix: str, exact: bool, names: set[str]
) -> None:
    make.change_families("master:", owner="nobody@example.com")
    make.family("master:a:", Category.LEGACY, owner="auditor@example.com")
    asked = {"binding": "SETTINGS", "prefix": prefix, "exact": exact}
    found = families.owners_asked_about(ApprovalRequest(evidence=json.dumps(asked)))
    assert {person.name for person in found} == names


def test_an_owner_who_asks_for_the_deletion_is_not_told(estate: make.Estate, people: make.People) -> None:
    make.change_families("master:", owner="operator@example.com")
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert told(NotificationEvent.APPROVAL_WAITING) == {"Reviewer"}
