"""Messages and alarms about backups, beyond the failure of their runs."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Max, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy as _

from backups.models import Generation
from kvops import timing
from kvops.models import NotificationEvent, Run
from kvops.notifications import outbox
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST
from kvops.wording import moment, say, translated

Status, Purpose = Generation.Status, Generation.Purpose


def made(generation: Generation) -> None:
    """Notify of listed keys that any backup lacks, and of a complete backup that no page waits for."""
    if generation.status == Generation.Status.PARTIAL:
        why = say(_("Listed keys that the backup lacks: %(n)s. Its page says why."), n=f"{generation.vanished:,}")
        _tell(generation, NotificationEvent.GENERATION_FAILED, _("Backup left partial: %(what)s"), why)
    elif generation.purpose not in Generation.OF_GIVEN_NAMES:
        _tell(generation, NotificationEvent.GENERATION_MADE, _("Backup made: %(what)s"))


def damaged(generation: Generation, *, found_by: Run) -> None:
    """Notify of a damaged backup: the run of a verification found a difference from KV's answer."""
    why, occasion = translated(generation.why), f"run:{found_by.pk}"
    _tell(generation, NotificationEvent.GENERATION_DAMAGED, _("Backup damaged: %(what)s"), why, occasion=occasion)


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """An alarm for each newest backup that is damaged, partial or was not verified within a day."""
    late = Q(status=Status.COMPLETE, finished_at__lt=Now() - timedelta(seconds=timing.VERIFIED_FRESH))
    lasting = Generation.objects.of_kv().there().exclude(purpose__in=[Purpose.RESTORE, Purpose.CHANGE])
    finished = lasting.exclude(status=Status.WRITING).order_by()
    newest = finished.values("namespace", "prefixes").annotate(newest=Max("pk")).values("newest")
    bad = Generation.objects.filter(Q(status__in=[Status.DAMAGED, Status.PARTIAL]) | late, pk__in=newest)
    for generation in bad.select_related("namespace__environment").order_by("-pk")[:MOST]:
        yield _alarm(generation)


def _alarm(generation: Generation) -> Alarm:
    titles = {
        Status.DAMAGED: ("generation.damaged", gettext("The newest backup of %(what)s is damaged")),
        Status.PARTIAL: ("generation.partial", gettext("The newest backup of %(what)s is partial")),
        Status.COMPLETE: ("generation.unverified", gettext("The newest backup of %(what)s was never verified")),
    }
    prefixes, (code, title) = ", ".join(generation.shown_prefixes), titles[Status(generation.status)]
    return Alarm(
        "danger" if generation.status == Status.DAMAGED else "warning",
        code,
        title % {"what": f"{generation.namespace} {prefixes}"},
        generation.shown_problem or gettext("No deletion may rely on this backup."),
        reverse("backups:generation", args=[generation.pk]),
        gettext("See details"),
        generation.finished_at,
        generation.namespace.environment,
        group=prefixes,
        together=lambda _n: title % {"what": prefixes},
    )


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
