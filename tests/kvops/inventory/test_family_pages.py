"""The page of the policy."""

import re

import pytest
from django.test import Client

from backups import policy
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.models import Category, Family, PolicyVersion, PreparedChange
from tests import make
from tests.signing import signed_in

FAMILY = '[[family]]\nbinding = "SETTINGS"\npattern = "{}"\ncategory = "legacy"\nowner = "platform"\nexpiry = "none"\n'


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def prepared() -> PreparedChange:
    """A change of the policy that waits for an operator."""
    change = policy.apply_policy(FAMILY.format("master:"), actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    return change


def page(client: Client) -> str:
    answer = client.get("/categories/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def test_families_stand_with_their_keys_in_every_environment(operator: Client, estate: make.Estate) -> None:
    for name in ("master:1", "master:2", "nobody"):
        estate.put(estate.qa, name)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    text, master = page(operator), Family.objects.get(pattern="master:")
    assert f'href="/keys/qa/SETTINGS/?family={master.pk}"> 2 </a>' in text
    assert 'href="/keys/qa/SETTINGS/?category=unclassified"> 1 </a>' in text
    assert "not scanned" in text
    assert "missing: cannot be deleted" in text


def test_a_deletion_of_any_category_needs_a_search_of_the_code(operator: Client, estate: make.Estate) -> None:
    """Settings and unclassified keys share a column, beside caches and legacy masters."""
    assert (
        page(operator).count("a search of the code for references, a second person") == 3
    )  # settings and unclassified keys, caches, legacy masters


@pytest.mark.parametrize(
    ("category", "expiry", "shown"),
    [
        ("cache", "ttl:3600", ("Cache", "expires after 1 hour")),
        ("cache", "regenerate", ("Cache", "written again when missing")),
        ("settings", "none", ("Settings", ">none<")),
    ],
)
def test_a_family_stands_with_its_category_and_its_expiry_design(
    operator: Client, estate: make.Estate, category: Category, expiry: str, shown: tuple[str, str]
) -> None:
    make.change_families("mastercache:", category=category, expiry=expiry)
    row = next(row for row in page(operator).split("<tr>") if "mastercache:" in row)
    assert [part for part in shown if part not in row] == []


def test_the_policy_names_its_version_and_who_applied_it(operator: Client, estate: make.Estate) -> None:
    text = page(operator)
    assert "Policy 1" in text
    assert PolicyVersion.objects.get().digest in text


def test_without_a_policy_the_page_says_what_to_do(operator: Client) -> None:
    assert "manage.py apply_policy" in page(operator)


def test_datasets_are_shown_beside_their_family(operator: Client, db: None) -> None:
    policy.apply_policy(policy.DEFAULT.read_text() + DATASET, actor=make.SETUP)
    text = page(operator)
    assert 'href="#dataset-masters">masters</a>' in text
    assert "master:{type}:{id}" in text


DATASET = """
[[dataset]]
name = "masters"
binding = "SETTINGS"
prefix = "master:"
database = "MASTERS_D1"
table = "masters"
key = "master:{type}:{id}"
fields = { id = "id", type = "type", name = "name" }
"""


def test_a_prepared_change_is_submitted_from_the_page(operator: Client, estate: make.Estate) -> None:
    change = prepared()
    text = page(operator)
    assert re.search(r"Removed.*Family <strong>.*mastercache:", text)
    assert f'action="/approvals/changes/{change.pk}/submit"' in text
    operator.post(f"/approvals/changes/{change.pk}/submit")
    change.refresh_from_db()
    assert f'href="/approvals/{change.approval_id}/"> See the request' in page(operator)


def test_an_approved_change_says_where_it_is_put_in_force(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    change = prepared()
    operator.post(f"/approvals/changes/{change.pk}/submit")
    change.refresh_from_db()
    request = change.approval
    assert request is not None
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    assert "Apply the change" in page(operator)
