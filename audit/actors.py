"""Actors in words. The log stores `system:` and the name of a part of the product; the pages name the part."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

SYSTEM = "system:"
"""The beginning of an actor that is a part of the product."""
PARTS: dict[str, str | Promise] = {
    "approvals": _("approvals"),
    "bucket-protection": _("protection of the bucket"),
    "first-chunk": _("pause after the first chunk"),
    "investigations": _("investigations"),
    "notifications": _("notifications"),
    "outside changes": _("changes outside KVOps"),
    "references": _("code references"),
    "rollbacks": _("older state of the database"),
    "runs": _("runs"),
    "schedule": _("schedules"),
    "sweep": "sweep",  # the name of its process in both languages
}
"""Parts of the product that act by themselves, by their names in the log."""


def part_of(actor: str) -> str | Promise:
    """The part of the product that an actor is, in words; empty for anybody else."""
    return PARTS.get(actor.removeprefix(SYSTEM), "") if actor.startswith(SYSTEM) else ""
