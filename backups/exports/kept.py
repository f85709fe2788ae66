"""Plain files written by commands: the encrypted place of each, which ends its to-do."""

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import PlainDump
from kvops.models import Person
from kvops.refusals import Refused


class AlreadyKept(Refused):
    """Another person recorded the place first."""


def record_place(dump: PlainDump, *, place: str, by: Person) -> None:
    """Record the encrypted place of the file; an existing record stays. Raises AlreadyKept."""
    actor = by.actor
    with log.transaction():
        waiting = PlainDump.objects.filter(pk=dump.pk, kept_at="")
        if waiting.update(kept_at=place, kept_by=actor.text) != 1:
            raise AlreadyKept(_("The place of this file was recorded already."))
        log.record(Action.DUMP_KEPT, actor=actor, **dump.audited, digest=dump.sha256, details={"kept_at": place})
