"""The project's knowledge of subjects, and the product's own parts as actors.

AUDIT_SUBJECTS names the module of subjects: the audit log imports nothing of it. An entry stores `system:` and the name
of a part; the pages name the part in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Tree(Protocol):
    """Subjects that belong together, and the number of each kind by its title. If `more`, it was cut."""

    @property
    def subjects(self) -> Sequence[str]:
        """The subjects, as entries spell them."""

    @property
    def counts(self) -> Sequence[tuple[str | Promise, int]]:
        """The title of each kind, and its number."""

    @property
    def more(self) -> bool:
        """Whether there are more subjects."""


class Subjects(Protocol):
    """The functions of the module."""

    def address(self, subject: str) -> str:
        """The address of a subject; empty for one without a page."""

    def titles(self, subjects: Iterable[str]) -> Mapping[str, str]:
        """The titles of subjects in the reader's language; it leaves out those that it does not know."""

    def under(self, subject: str) -> Tree:
        """The subject and everything under it."""

    def of_key(self, name: str) -> Tree:
        """Everything about a key."""

    def environments(self) -> Mapping[str, str]:
        """The shown name of each environment there is now, by the name that entries have, in the order of clean-up."""

    def typed(self, text: str) -> str:
        """The name of a key that a person typed."""

    def typeable(self, name: str) -> str:
        """The name of a key as a field can show it."""


def known() -> Subjects:
    """The project's module."""
    return cast("Subjects", import_module(settings.AUDIT_SUBJECTS))


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
