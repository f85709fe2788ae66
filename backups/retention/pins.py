"""Pins: a pinned backup is not deleted until the pin is removed. Both record the person and the reason."""

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import Generation, Pin
from kvops.models import Person, Role
from kvops.refusals import Refused
from kvops.wording import insist_explained


class PinRefused(Refused):
    """The backup cannot be pinned, or the pin cannot be removed; the message gives the reason."""


def pin(generation: Generation, *, reason: str, by: Person) -> Pin:
    """Keep a backup until the pin is removed. Every person with a role may do this. Raises PinRefused."""
    if not by.roles():
        raise PinRefused(_("Only an operator, a reviewer or an auditor can pin a backup."))
    insist_explained(reason, PinRefused, _("Give the reason for keeping the backup."))
    with log.transaction():
        held = Generation.objects.select_for_update(of=("self",)).get(pk=generation.pk)
        if held.status in Generation.GOING:
            raise PinRefused(_("The backup is being deleted or is already deleted. It can no longer be pinned."))
        if held.purpose == Generation.Purpose.INVESTIGATION:
            raise PinRefused(
                _("An investigation backup is deleted at the end of the investigation. It cannot be pinned.")
            )
        if Pin.objects.in_force().filter(generation=held, person=by).exists():
            raise PinRefused(_("You have already pinned this backup."))
        made = Pin.objects.create(generation=held, person=by, reason=reason.strip())
        _record(Action.GENERATION_PINNED, made, by, made.reason)
    return made


def remove(pin: Pin, *, reason: str, by: Person) -> None:
    """Remove a pin: only its owner or an operator may. Raises PinRefused."""
    if by.pk != pin.person_id and not by.holds(Role.OPERATOR):
        raise PinRefused(_("Only the person who pinned it, or an operator, can remove the pin."))
    insist_explained(reason, PinRefused, _("Give the reason for removing the pin."))
    with log.transaction():
        removed = Pin.objects.in_force().filter(pk=pin.pk)
        if removed.update(removed_at=Now(), removed_by=by, removed_because=reason.strip()) != 1:
            raise PinRefused(_("Someone already removed this pin."))
        _record(Action.GENERATION_UNPINNED, pin, by, reason.strip())


def _record(action: Action, pin: Pin, by: Person, reason: str) -> None:
    log.record(action, actor=by.actor, **pin.generation.audited, details={"pin": pin.pk, "reason": reason[:500]})
