"""The age identities and the key of digests of the tests; anew for each session."""

import secrets

import pytest
from pyrage import x25519
from pytest_django.fixtures import Settings

OPERATIONS, OFFLINE, STRANGER, REVIEW = (x25519.Identity.generate() for _ in range(4))
RECIPIENTS = (str(OPERATIONS.to_public()), str(OFFLINE.to_public()))
DIGEST_KEY = secrets.token_urlsafe(48)


@pytest.fixture
def encrypting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that encrypts: a worker with the identity of operations, and a key of digests."""
    settings.AGE_RECIPIENTS = RECIPIENTS
    settings.AGE_IDENTITY, settings.DIGEST_KEY = "env:TEST_AGE_IDENTITY", "env:TEST_DIGEST_KEY"
    settings.REVIEW_IDENTITY = "env:TEST_REVIEW_IDENTITY"
    monkeypatch.setenv("TEST_REVIEW_IDENTITY", str(REVIEW))
    monkeypatch.setenv("TEST_AGE_IDENTITY", f"# created: today\n{OPERATIONS}\n")
    monkeypatch.setenv("TEST_DIGEST_KEY", DIGEST_KEY)
