"""The alarms about services: a rolled back database, refused tokens, work that waits, and clocks that differ."""

from datetime import timedelta

from django.db.models import Count, Min
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from kvops import timing
from kvops.models import DatabaseRollback, Environment, RefusedToken, Run, Skew
from kvops.models.runs import RunQuerySet
from kvops.overview.key_alarms import Alarm


def alarms() -> list[Alarm]:
    """All alarms about services."""
    return [*_rolled_back(), *_refused(), *_apart(), *_waiting()]


def _late() -> RunQuerySet:
    """The runs that have waited long for a service."""
    return Run.objects.open().filter(waiting_since__lt=Now() - timedelta(seconds=timing.WAITING_TOLD))


def _rolled_back() -> list[Alarm]:
    """One alarm for each environment whose bucket holds a backup that the database does not know."""
    return [
        Alarm(
            "danger",
            "database.rolled_back",
            _("The database was rolled back"),
            _(
                "The bucket of %(environment)s holds a backup that this database does not know, so KVOps is "
                "read-only. Restore a newer state of the database, or run manage.py accept_restored_database."
            )
            % {"environment": one.environment.name},
            reverse("environments"),
            _("See details"),
            one.found_at,
            one.environment,
        )
        for one in DatabaseRollback.objects.in_force().select_related("environment").order_by("pk")
    ]


def _refused() -> list[Alarm]:
    """One alarm for each secret that a service refuses now."""
    found = []
    for one in RefusedToken.objects.filter(over_at=None).select_related("environment").order_by("pk"):
        title = _("%(service)s refuses %(reference)s of %(environment)s") % {
            "service": Skew.Service(one.service).label,
            "reference": one.reference,
            "environment": one.environment.name,
        }
        text = _("Every run that needs it fails. Replace the secret, or give the token its permission.")
        found.append(
            Alarm(
                "danger",
                "token.refused",
                title,
                text,
                reverse("environments"),
                _("See details"),
                one.since,
                one.environment,
            )
        )
    return found


def _apart() -> list[Alarm]:
    """One alarm for each service whose clock differs so much that nothing is deleted or restored."""
    return [
        Alarm(
            "danger",
            "clock.apart",
            _("The clocks of the database and of %(service)s differ") % {"service": one.get_service_display()},
            ngettext(
                "%(environment)s: they differ by %(n)s second, so nothing is deleted or restored.",
                "%(environment)s: they differ by %(n)s seconds, so nothing is deleted or restored.",
                one.apart,
            )
            % {"environment": one.environment.name, "n": one.apart},
            reverse("environments"),
            _("See details"),
            one.measured_at,
            one.environment,
        )
        for one in Skew.objects.select_related("environment").order_by("environment__order", "service")
        if one.too_large
    ]


def _waiting() -> list[Alarm]:
    """One alarm for each environment with runs that have waited long for a service."""
    waiting = _late().values("environment").annotate(runs=Count("pk"), since=Min("waiting_since"))
    found = list(waiting.order_by("environment"))
    environments = Environment.objects.in_bulk() if found else {}
    title = _("Work of %(environment)s waits for a service")
    return [
        Alarm(
            "warning",
            "run.waiting",
            title % {"environment": environments[one["environment"]].name},
            ngettext("%(n)s run waits and tries again.", "%(n)s runs wait and try again.", one["runs"])
            % {"n": one["runs"]},
            reverse("runs"),
            _("See details"),
            one["since"],
            environments[one["environment"]],
        )
        for one in found
        if one["environment"]
    ]
