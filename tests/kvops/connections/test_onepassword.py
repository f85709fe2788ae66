"""Secrets out of 1Password: resolved by reference, kept for a while, and said plainly when they are not to be had."""

import asyncio
import sys

import pytest

from kvops import timing
from kvops.connections import credentials, onepassword
from tests.fakes.onepassword import OnePassword

REFERENCE = "op://Operations/kv/token"
TOKEN = "ops_service-account"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> OnePassword:
    made = OnePassword(TOKEN)
    made.secrets[REFERENCE] = " the-secret\n"
    made.install(monkeypatch)
    monkeypatch.setenv(onepassword.TOKEN, TOKEN)
    monkeypatch.setattr(credentials, "_kept", {})
    return made


def test_a_reference_is_resolved_once_in_five_minutes(account: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [credentials.resolve(REFERENCE) for _ in range(3)] == ["the-secret"] * 3
    assert account.calls == ["authenticate", REFERENCE]
    monkeypatch.setattr(credentials, "KEPT", 0.0)
    account.secrets[REFERENCE] = "rotated"
    assert credentials.resolve(REFERENCE) == "rotated"


def test_an_item_that_is_not_there_is_named(account: OnePassword) -> None:
    with pytest.raises(credentials.UnresolvedReference, match=r"op://Operations/none/token.*no item matched"):
        credentials.resolve("op://Operations/none/token")


def test_an_empty_field_is_no_secret(account: OnePassword) -> None:
    account.secrets[REFERENCE] = " "
    with pytest.raises(credentials.UnresolvedReference, match="the field is empty"):
        credentials.resolve(REFERENCE)


def test_a_refused_token_is_not_repeated(account: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(onepassword.TOKEN, "ops_wrong-token")
    with pytest.raises(credentials.UnresolvedReference, match="invalid service account token …") as refused:
        credentials.resolve(REFERENCE)
    assert "ops_wrong-token" not in str(refused.value)


def test_without_a_token_it_says_which_variable(account: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(onepassword.TOKEN)
    with pytest.raises(credentials.UnresolvedReference, match="OP_SERVICE_ACCOUNT_TOKEN is not set"):
        credentials.resolve(REFERENCE)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onepassword", None)
    monkeypatch.setattr(credentials, "_kept", {})
    with pytest.raises(credentials.UnresolvedReference, match=r"pip install -r requirements-onepassword\.txt"):
        credentials.resolve(REFERENCE)


@pytest.mark.parametrize("reference", ["op:Operations/kv/token", "vault:x", "op"])
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(credentials.UnresolvedReference, match="a reference is env:NAME, file:PATH or op://"):
        credentials.resolve(reference)


def test_an_answer_that_does_not_come_is_not_waited_for(account: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "REQUEST_TIMEOUT", 0.01)
    with pytest.raises(onepassword.Unavailable, match="did not answer in time"):
        onepassword.ask_onepassword(lambda _client: asyncio.sleep(60))
