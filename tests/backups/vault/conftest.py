"""A 1Password account with one vault, an environment that names it, and a worker that may use it."""

import pytest

from backups.models import Generation
from kvops.connections import onepassword
from kvops.models import Environment
from kvops.supervision import heartbeats
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.fakes.onepassword import OnePassword


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> OnePassword:
    """The account that this process may use."""
    made = OnePassword("ops_token")
    made.install(monkeypatch)
    monkeypatch.setenv(onepassword.TOKEN, "ops_token")
    return made


@pytest.fixture
def settings_backup(estate: make.Estate, encrypting: None) -> Generation:
    """A verified backup of one secret in QA, without a vault."""
    estate.put(estate.qa, "system-root", b"hunter2")
    return restore_helpers.verified_backup(estate.qa, "system-root")


@pytest.fixture
def backup(settings_backup: Generation, account: OnePassword) -> Generation:
    """The backup, in an environment with a vault, and with a worker that may use it."""
    Environment.objects.filter(slug="qa").update(vault="Operations")
    heartbeats.beat("onepassword")
    return Generation.objects.select_related("environment", "namespace").get(pk=settings_backup.pk)
