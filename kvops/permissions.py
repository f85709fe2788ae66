"""The rights of each role: the one table. Pure: no models, no database."""

from collections.abc import Iterable

EVERYONE = frozenset({"operator", "reviewer", "auditor"})

PERMISSIONS: dict[str, frozenset[str]] = {
    "kvops.view": EVERYONE,
    "audit.view_entry": EVERYONE,
    "kvops.view_values": frozenset({"operator", "reviewer"}),
    "kvops.stop": EVERYONE,
    "kvops.pin": EVERYONE,
    "kvops.note": EVERYONE,
    "kvops.keep_runbook": frozenset({"operator", "reviewer"}),
    "kvops.acknowledge": frozenset({"operator", "reviewer"}),
    "kvops.ask_for_roles": frozenset({"operator", "reviewer"}),
    "kvops.operate": frozenset({"operator"}),
    "kvops.review": frozenset({"reviewer"}),
}
"""Permission -> roles. An auditor sees every page and no value; only roles listed here count."""


def granted(roles: Iterable[str], permission: str) -> bool:
    """Whether one of the roles has the permission; an unknown permission is refused with KeyError."""
    return not PERMISSIONS[permission].isdisjoint(roles)
