"""Sentry hears of errors by their types and places. No value leaves."""

import json
import logging
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from pytest_django import Settings

from kvops import logs
from kvops.env import SettingError
from kvops.site import sentry

WORDS = secrets.token_hex(8)


@pytest.fixture
def sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What would leave for Sentry."""
    events: list[dict[str, Any]] = []
    monkeypatch.setenv("TEST_DSN", "http://key@127.0.0.1:9/1")
    settings.KVOPS_SENTRY_DSN = "env:TEST_DSN"
    sentry.start()
    monkeypatch.setattr(
        sentry_sdk.get_client().transport, "capture_envelope", lambda one: events.append(one.get_event())
    )
    yield events
    sentry_sdk.init()


def test_an_error_is_sent_by_its_type_and_place_alone(sent: list[dict[str, Any]]) -> None:
    value = WORDS
    with logs.bound(run=7):
        try:
            raise ValueError(value)
        except ValueError:
            logging.getLogger("kvops.x").exception("Run %s failed: %s", 7, value)
    (event,) = sent
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["filename"].endswith("test_sentry.py")
    assert (event["logentry"], event["tags"]) == ({"message": "Run %s failed: %s"}, {"run": "7"})
    assert WORDS not in json.dumps(event, default=str)


def test_what_an_event_has_besides_does_not_leave() -> None:
    event = {"event_id": "1", "request": {"url": WORDS}, "extra": {"x": WORDS}, "breadcrumbs": [WORDS], "new": WORDS}
    assert sentry.allowed(event) == {"event_id": "1", "tags": {}}


def test_without_a_dsn_nothing_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentry_sdk, "init", lambda *_, **__: pytest.fail("Sentry was started"))
    sentry.start()


def test_a_dsn_that_cannot_be_read_is_one_sentence(settings: Settings) -> None:
    settings.KVOPS_SENTRY_DSN = "env:NOT_THERE"
    with pytest.raises(SettingError, match="KVOPS_SENTRY_DSN: env:NOT_THERE: the variable NOT_THERE is not set"):
        sentry.start()
