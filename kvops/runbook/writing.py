"""The rights to write into the runbook, and the refusal of secrets in it."""

from django.utils.translation import gettext_lazy as _

from kvops.models import Person, Role
from kvops.refusals import Refused
from kvops.runbook import secrets


class RunbookRefused(Refused):
    """The text or the act is not for the runbook; the message gives the reason."""


def insist_keeper(by: Person) -> None:
    """Raise RunbookRefused unless the person may write entries and to-dos."""
    if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
        raise RunbookRefused(_("Only an operator or a reviewer can write this."))


def insist_reader(by: Person) -> None:
    """Raise RunbookRefused unless the person holds a role: everybody who reads may write notes."""
    if not any(by.holds(role) for role in Role):
        raise RunbookRefused(_("Only a person with a role can write this."))


def insist_no_secret(text: str) -> None:
    """Raise RunbookRefused if the text holds a well-known kind of secret."""
    if why := secrets.mark_in(text):
        raise RunbookRefused(why)
