"""Roles and their changes in words."""

from collections.abc import Iterable

from django import template
from django.utils.translation import gettext_lazy

from kvops.models import Role

register = template.Library()

ACTIONS = {
    "grant": gettext_lazy("grant a role"),
    "revoke": gettext_lazy("revoke a role"),
    "invite": gettext_lazy("invite by mail"),
    "deactivate": gettext_lazy("deactivate"),
}


@register.filter
def role_action(action: str) -> str:
    """The change that a request asks for."""
    return str(ACTIONS[action])


@register.filter
def role_names(roles: Iterable[str]) -> str:
    """The roles by name, separated by commas."""
    return ", ".join(str(Role(role).label) for role in roles)
