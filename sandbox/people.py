"""The sandbox's four people, with well-known passwords. Needs Django; refuses other installations."""

from django.conf import settings

from audit import log
from kvops.models import Role
from kvops.people import setup as people_setup
from sandbox.environment import PEOPLE


class NotTheSandbox(Exception):
    """The accounts were asked for outside the sandbox."""


def create() -> None:
    """Create operator, operator2, reviewer and auditor with their printed passwords; raises NotTheSandbox."""
    if not settings.SANDBOX:
        raise NotTheSandbox("Accounts with known passwords are for the sandbox; use `manage.py setup_people`.")
    with log.transaction():
        for email, (role, password) in PEOPLE.items():
            user = people_setup.add(email, Role(role), actor=log.Actor(None, "cli:sandbox"))
            user.set_password(password)
            user.save(update_fields=["password"])
