"""The page of the environments."""

import pytest
from django.test import Client

from kvops.connections.budget import SharedBudget
from kvops.environments import apply as environments_apply
from tests import make
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.environments import estate_toml
from tests.signing import said, signed_in

PAGE = "/environments/"
CHECK = "/environments/qa/check"


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def page(client: Client) -> str:
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_shows_bindings_and_references_and_no_secret(operator: Client, estate: make.Estate) -> None:
    text = page(operator)
    for part in ("env:QA_READ", "env:PRODUCTION_WRITE", make.NAMESPACES["qa"], make.DATABASES["production"]):
        assert part in text
    for secret in ("qa-read-token", "production-write-token", estate.s3.secret_access_key):
        assert secret not in text


def test_the_page_says_how_many_requests_are_left(operator: Client, estate: make.Estate) -> None:
    budget = SharedBudget("shared")
    budget.take(100)
    budget.observed(remaining=None, wait=90)
    text = page(operator)
    assert "860 of 960" in text
    assert "or little is left: KVOps waits 90 s." in text


def test_the_page_says_what_cloudflare_tells_and_who_shares_a_budget(operator: Client, estate: make.Estate) -> None:
    SharedBudget("shared").observed(remaining=431, wait=0.0)
    text = page(operator)
    assert "Cloudflare says: 431 left to the user, other tools included." in text
    assert "also used by Production" in text


def test_without_environments_the_page_shows_a_file_to_begin_with(operator: Client) -> None:
    text = page(operator)
    assert "manage.py apply_environments" in text
    assert "[[environment.kv]]" in text


def test_the_read_token_is_checked(operator: Client, estate: make.Estate) -> None:
    assert said(operator.post(CHECK, follow=True)) == ["QA: the read token can read all 2 resources bound here."]
    assert estate.cloudflare.calls("namespace")


def test_a_read_token_that_is_not_there_is_said(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QA_READ")
    (message,) = said(operator.post(CHECK, follow=True))
    assert "env:QA_READ cannot see" in message
    assert "is not set" in message


def test_a_prepared_change_is_shown(operator: Client, cloudflare: FakeCloudflare) -> None:
    toml = estate_toml.text(cloudflare)
    environments_apply.apply_environments(toml, actor=make.SETUP)
    environments_apply.apply_environments(toml.replace('name = "Qa"', 'name = "Rehearsal"'), actor=make.SETUP)
    text = page(operator)
    assert "qa: Name Qa → Rehearsal" in text
    assert "Submit for review" in text
