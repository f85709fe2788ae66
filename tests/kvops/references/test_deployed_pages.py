"""The page of the deployed code: known and unknown code, and a look now."""

import re

import pytest
from django.test import Client

from kvops.models import Run
from kvops.references import look as code_look
from tests import make
from tests.signing import signed_in

PAGE = "/references/qa/deployed/"


@pytest.fixture
def reader(people: make.People) -> Client:
    return signed_in(people.auditor)


def test_before_the_first_look_nothing_is_known(estate: make.Estate, reader: Client) -> None:
    shown = reader.get(PAGE).text
    assert "The deployed code is not known" in shown
    assert "Cloudflare was never asked" in shown


def test_code_is_shown_with_its_commit_and_version(estate: make.Estate, reader: Client) -> None:
    code = estate.cloudflare.code(estate.qa.environment.account_id)
    api = code.worker("clinic-api", {"KV": estate.qa.namespace_id})
    code.project("clinic-site", {"KV": estate.qa.namespace_id}, "c" * 40).dirty = True
    code.worker("mailer", {"OTHER": "9" * 32})
    code_look.look(estate.qa.environment)
    shown = reader.get(PAGE).text
    for text in (
        "Worker clinic-api",
        api.active[0],
        "Pages project clinic-site",
        "c" * 40,
        "changes that no commit has",
    ):
        assert text in shown
    assert "mailer" not in shown
    assert "is not known</h2>" not in shown


def test_previews_that_bind_production_are_shown(estate: make.Estate, reader: Client) -> None:
    code = estate.cloudflare.code(estate.production.environment.account_id)
    code.project("shop", {}, "c" * 40).preview_kv = {"KV": estate.production.namespace_id}
    code_look.look(estate.production.environment)
    shown = re.sub(r"\s+", " ", reader.get("/references/production/deployed/").text)
    assert re.search(r"<td[^>]*>Previews of the Pages project shop</td> *<td[^>]*> *<code>KV</code>", shown)


def test_a_missing_permission_is_said_with_its_name(estate: make.Estate, reader: Client) -> None:
    estate.cloudflare.add_token("qa-read-token", account=estate.qa.environment.account_id, permission="kv")
    code_look.look(estate.qa.environment)
    assert "Give it the permission Workers Scripts Read." in reader.get(PAGE).text


def test_an_operator_looks_now(estate: make.Estate, people: make.People) -> None:
    client = signed_in(people.operator)
    answer = client.post(f"{PAGE}look", follow=True)
    run = Run.objects.get(kind=Run.Kind.LOOK)
    assert answer.redirect_chain[0][0] == f"/runs/{run.pk}/"
    assert "is already running" in client.post(f"{PAGE}look", follow=True).text
    make.work()
    assert "The deployed code is not known" not in client.get(PAGE).text
    run.refresh_from_db()
    assert run.calls == len(estate.cloudflare.journal)
    assert f'href="{PAGE}">Deployed code</a>' in client.get(f"/runs/{run.pk}/").text
