"""The age identities and the key of digests of the tests; anew for each session."""

import os
import secrets
from collections.abc import Mapping

import pytest
from django.conf import settings as django_settings
from pyrage import x25519
from pytest_django.fixtures import Settings

OPERATIONS, OFFLINE, STRANGER, REVIEW = (x25519.Identity.generate() for _ in range(4))
RECIPIENTS = (str(OPERATIONS.to_public()), str(OFFLINE.to_public()))
DIGEST_KEY = secrets.token_urlsafe(48)
SETTINGS: Mapping[str, object] = {
    "AGE_RECIPIENTS": RECIPIENTS,
    "AGE_IDENTITY": "env:TEST_AGE_IDENTITY",
    "DIGEST_KEY": "env:TEST_DIGEST_KEY",
    "REVIEW_IDENTITY": "env:TEST_REVIEW_IDENTITY",
}
ENVIRON = {
    "TEST_REVIEW_IDENTITY": str(REVIEW),
    "TEST_AGE_IDENTITY": f"# created: today\n{OPERATIONS}\n",
    "TEST_DIGEST_KEY": DIGEST_KEY,
}


@pytest.fixture
def encrypting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that encrypts: a worker with the identity of operations, and a key of digests."""
    for name, value in SETTINGS.items():
        setattr(settings, name, value)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


def encrypt() -> None:
    """The same for the rest of this process."""
    for name, value in SETTINGS.items():
        setattr(django_settings, name, value)
    os.environ.update(ENVIRON)
