"""The next steps of prune requests, and the days from which backups can be deleted, for the overview and the menu."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, ngettext

from backups.bucket import protection as bucket_protection
from backups.models import BucketProtection, Generation, PruneRequest
from backups.retention.forms import SOON
from backups.retention.inputs import Kept, Retention
from kvops.models import Environment, Person
from kvops.overview.coming import DAYS_AHEAD, ComingEvent
from kvops.overview.estate import Estate
from kvops.overview.lines import MOST, Line, step

AHEAD = timedelta(days=DAYS_AHEAD)
DECIDED = 200
"""Backups. At most this many are decided on, so that a page takes no longer for more of them."""
LONGEST = 100 * 365 * 86_400
"""Seconds. A lock that is longer ends no day soon."""
NAMED = 2
"""Prefixes. An event names at most this many."""


def prunes_to_start(person: Person) -> QuerySet[PruneRequest]:
    """Approved prune requests that the person may start."""
    approved = PruneRequest.objects.filter(state=PruneRequest.State.APPROVED, approval__use_by__gt=Now())
    return approved.exclude(approval__approver=person)


def steps(person: Person) -> Iterator[Line]:
    """The prune requests that the person starts."""
    for prune in prunes_to_start(person).select_related("environment", "approval").order_by("pk")[:MOST]:
        subject = ngettext("%(n)d backup", "%(n)d backups", prune.generations) % {"n": prune.generations}
        url = reverse("backups:prune", args=[prune.pk])
        by = prune.approval.use_by if prune.approval else None
        yield step(prune.environment, _("Start the prune run"), subject, url, since=prune.created_at, by=by)


def coming(estate: Estate) -> Iterator[ComingEvent]:
    """An event for each day and environment with backups that can be deleted, and one if there are more of them."""
    protections = bucket_protection.known_of(estate.environments.values()).values()
    found = list(_candidates(estate, list(protections)))
    of_days: dict[tuple[date, int], list[tuple[datetime, Generation]]] = {}
    for kept in _kept(estate, list(protections), found):
        if at := kept.verdict.due_at:
            day = (timezone.localdate(at), kept.generation.environment_id)
            of_days.setdefault(day, []).append((at, kept.generation))
    for backups in of_days.values():
        yield _deletable(backups[0][1].environment, backups)
    if len(found) == DECIDED:
        text = _("More backups than these can be deleted by then")
        yield ComingEvent(estate.now + AHEAD, text, f"{reverse('backups:retention')}?state={SOON}")


def _candidates(estate: Estate, protections: Sequence[BucketProtection]) -> QuerySet[Generation]:
    """The backups on which `decide.decide` may set a date in this time, the oldest first."""
    now, soon = estate.now, estate.now + AHEAD
    spans = {timedelta(days=one.retain_days) for one in estate.families}
    shortest, locked = min(spans, default=timedelta()), Q()
    for protection in protections:
        for rule in bucket_protection.rules_of(protection):
            if rule.enabled and rule.seconds is not None:
                spans.add(timedelta(seconds=min(rule.seconds, LONGEST)))
            if rule.enabled and rule.date and now < datetime.fromisoformat(rule.date) <= soon:
                locked |= Q(environment=protection.environment_id)
    dated = locked | Q(retain_until__gt=now, retain_until__gte=F("finished_at") + shortest)
    for span in spans:
        dated |= Q(finished_at__gt=now - span, finished_at__lte=soon - span)
    # No date of a backup is before the one stored with it.
    backups = Generation.objects.there().lasting().filter(dated, finished_at__isnull=False, retain_until__lte=soon)
    return backups.select_related("namespace", "environment").order_by("finished_at", "pk")[:DECIDED]


def _kept(estate: Estate, protections: Sequence[BucketProtection], backups: Sequence[Generation]) -> Iterator[Kept]:
    """Those of the backups that can be deleted from a moment within this time."""
    if backups:
        retention = Retention(now=estate.now, families=estate.families, protections=protections)
        for kept in retention.of(backups):
            due_at = kept.verdict.due_at
            if kept.verdict.goes_by(estate.now + AHEAD) and due_at and due_at > estate.now.astimezone(UTC):
                yield kept


def _deletable(environment: Environment, of_day: Sequence[tuple[datetime, Generation]]) -> ComingEvent:
    n = len(of_day)
    names = list(dict.fromkeys(name for _at, one in of_day for name in one.shown_prefixes))
    text = ngettext(
        "%(n)s backup of %(what)s can be deleted from then",
        "%(n)s backups of %(what)s can be deleted from then",
        n,
    )
    what = ", ".join(names[:NAMED]) + (f" +{len(names) - NAMED}" if len(names) > NAMED else "")
    url = f"{reverse('backups:retention')}?environment={environment.slug}&state={SOON}"
    pin = reverse("backups:generation_pin", args=[of_day[0][1].pk]) if n == 1 else url
    at = min(at for at, _one in of_day)
    return ComingEvent(at, text % {"n": n, "what": what}, url, environment, _("Pin") if n == 1 else _("Pin some"), pin)
