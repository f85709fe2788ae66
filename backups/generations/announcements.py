"""Messages about backups, beyond the failure of their runs."""

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.models import Generation
from kvops.models import NotificationEvent, Run
from kvops.notifications import outbox
from kvops.wording import moment, say, translated

Purpose = Generation.Purpose


def made(generation: Generation) -> None:
    """Notify of listed keys that any backup lacks, and of a complete backup that no page waits for."""
    if generation.status == Generation.Status.PARTIAL:
        why = say(_("Listed keys that the backup lacks: %(n)s. Its page says why."), n=f"{generation.vanished:,}")
        _tell(generation, NotificationEvent.GENERATION_FAILED, _("Backup left partial: %(what)s"), why)
    elif generation.purpose in {Purpose.ROUTINE, Purpose.MASTERS, Purpose.INVESTIGATION}:
        _tell(generation, NotificationEvent.GENERATION_MADE, _("Backup made: %(what)s"))


def damaged(generation: Generation, *, found_by: Run) -> None:
    """Notify of a damaged backup: the run of a verification found a difference from KV's answer."""
    why, occasion = translated(generation.why), f"run:{found_by.pk}"
    _tell(generation, NotificationEvent.GENERATION_DAMAGED, _("Backup damaged: %(what)s"), why, occasion=occasion)


def _tell(
    generation: Generation, event: NotificationEvent, title: str | Promise, *why: str, occasion: str = ""
) -> None:
    what = f"{generation.namespace} {' '.join(generation.shown_prefixes)}"
    keys = say(_("Made by %(who)s, %(time)s, number of keys: %(n)s"), n=f"{generation.keys:,}", who=generation.actor,
               time=moment(generation.finished_at))  # fmt: skip
    outbox.post(
        event,
        subject=f"generation:{generation.pk}",
        environment=generation.environment,
        title=say(title, what=what),
        lines=[keys, *why],
        link=reverse("backups:generation", args=[generation.pk]),
        occasion=occasion,
    )
