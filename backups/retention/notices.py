"""Notices about backups: soon to be deleted, past their date, late, overdue, or with too little restore history.

Jobs of schedules: hourly for late backups, daily for deletions. Each calls `outbox.post`, which tells every recipient
once per backup and occasion: operators, reviewers and the owner that a family names. The message has the address of
the pin.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.generations import coverage as family_coverage
from backups.generations.coverage import Light, NewestBackup
from backups.models import Generation
from backups.retention.decide import State
from backups.retention.inputs import Kept, Retention
from kvops import timing
from kvops.inventory.families import owners
from kvops.models import Environment, Family, NotificationEvent
from kvops.notifications import outbox
from kvops.schedules.jobs import Begun
from kvops.wording import moment, say

DAY = timedelta(days=1)


def before_deletion(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify of every backup within the notice days of its family, and of backups past their date."""
    retention = Retention()
    families = {family.pk: family for family in Family.objects.all()}
    for kept in retention.over(Generation.objects.filter(environment=environment)):
        verdict = kept.verdict
        if not verdict.state.goes or verdict.due_at is None:
            continue
        mine = [families[rule.family] for rule in verdict.rules]
        if verdict.state == State.DUE:
            _past(kept, verdict.due_at, mine)
            continue
        days = due_notice({day for family in mine for day in family.notice_days}, verdict.due_at, retention.now)
        if days is not None:
            _tell(kept, verdict.due_at, days, mine)
    return Begun()


def due_notice(days: Iterable[int], due_at: datetime, now: datetime) -> int | None:
    """The smallest of these numbers of days that is not below the days left; None if the first notice is not due yet.

    A missed notice is not sent later: after the notice 3 days before, the one 7 days before would be useless.
    """
    left = math.ceil((due_at - now) / DAY)
    return min((day for day in days if day >= left), default=None)


def _tell(kept: Kept, due_at: datetime, days: int, families: Sequence[Family]) -> None:
    generation = kept.generation
    outbox.post(
        NotificationEvent.GENERATION_DEADLINE,
        subject=f"generation:{generation.pk}",
        title=say(_("Backup %(pk)s can be deleted from %(date)s"), pk=generation.pk, date=moment(due_at)),
        lines=[*_about(kept), say(_("If you need the backup, pin it on this page. A pinned backup stays."))],
        link=f"{reverse('backups:generation_pin', args=[generation.pk])}?notice=1",
        environment=generation.environment,
        occasion=f"{days} days before {due_at:%Y-%m-%d}",
        to=owners(families),
    )


def _past(kept: Kept, due_at: datetime, families: Sequence[Family]) -> None:
    generation = kept.generation
    outbox.post(
        NotificationEvent.GENERATION_PAST_DEADLINE,
        subject=f"generation:{generation.pk}",
        title=say(_("Backup %(pk)s is past its date, %(date)s"), pk=generation.pk, date=moment(due_at)),
        lines=[*_about(kept), say(_("An operator can create a prune request on the Retention page."))],
        link=reverse("backups:generation", args=[generation.pk]),
        environment=generation.environment,
        occasion=f"past {due_at:%Y-%m-%d}",
        to=owners(families),
    )


def _about(kept: Kept) -> list[str]:
    generation = kept.generation
    what = " ".join(generation.shown_prefixes)
    made = say(
        _("Made on %(date)s, number of keys: %(keys)s."),
        date=moment(generation.started_at),
        keys=f"{generation.keys:,}",
    )
    return [f"{generation.namespace} {what}", made, *(reason.text for reason in kept.verdict.reasons)]


def in_time(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify of families whose next backup is late or overdue, or whose restore history is too short."""
    for family, backup in family_coverage.in_environment(environment):
        if backup.light in {Light.LATE, Light.OVERDUE, Light.NEVER}:
            _late(environment, family, backup)
        if backup.short:
            _short(environment, family, backup)
    return Begun()


def _late(environment: Environment, family: Family, backup: NewestBackup) -> None:
    what = f"{backup.namespace} {family}"
    newest = backup.generation
    title = _("No verified backup of %(what)s yet")
    if newest:
        title = (
            _("The backup of %(what)s is late")
            if backup.light == Light.LATE
            else _("The backup of %(what)s is overdue")
        )
    last = say(_("The newest verified backup is from %(date)s."), date=moment(newest.started_at)) if newest else ""
    every = _("A backup is expected every %(hours)s hours.")
    if family.interval_hours == 1:
        every = _("A backup is expected every hour.")
    expected = say(every, hours=family.interval_hours)
    outbox.post(
        NotificationEvent.GENERATION_LATE if backup.light == Light.LATE else NotificationEvent.GENERATION_OVERDUE,
        subject=f"family:{family.pk}",
        title=say(title, what=what),
        lines=[line for line in (last, expected) if line],
        link=reverse("backups:backups"),
        environment=environment,
        occasion=f"{environment.slug} after {newest.pk if newest else 0}",
        to=owners([family]),
    )


def _short(environment: Environment, family: Family, backup: NewestBackup) -> None:
    what = f"{backup.namespace} {family}"
    outbox.post(
        NotificationEvent.COVERAGE_SHORT,
        subject=f"family:{family.pk}",
        title=say(_("%(what)s has less than %(days)s days of restore history"), days=timing.RETENTION_DAYS, what=what),
        lines=[say(_("The oldest verified backup is from %(date)s."), date=moment(backup.since))],
        link=reverse("backups:backups"),
        environment=environment,
        occasion=f"{environment.slug} since {_date(backup.since)}",
    )


def _date(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M %Z}" if at else ""
