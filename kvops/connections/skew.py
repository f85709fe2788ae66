"""The database's clock compared with those of Cloudflare and R2: the `Date` of their answers (hazards B20).

Approvals, leases, retention and expirations go by the database's clock. It is compared at each step of a deletion or
restore, at each look into a bucket, and after each scan and backup. If the clocks are more than 60 s apart, nothing is
deleted or restored; the page of the environments shows both clocks.

A clock more than a minute behind the newest audit entry was set back. Then nothing is submitted, decided, claimed or
backed up. Audit entries are still written, with the time of the newest entry, so that an emergency stop is recorded
too.
"""

from django.db import connection
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops.models import Environment, Skew
from kvops.wording import say

CODE = "clock_skew"
"""The error code of a run that ends because of clock skew."""


def measure(environment: Environment, service: Skew.Service, theirs: float | None) -> str:
    """Store the skew from `theirs` (seconds since 1970, or None). Return why the clocks are skewed, or nothing."""
    if theirs is not None:
        row = _now(environment, service, theirs)
        Skew.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["environment", "service"],
            update_fields=["seconds", "measured_at"],
        )
    return why_skewed(environment, service)


def compare(environment: Environment, service: Skew.Service, theirs: float | None) -> str:
    """The same, without storing it."""
    return why_skewed(environment, service) if theirs is None else _why(_now(environment, service, theirs))


def why_skewed(environment: Environment, service: Skew.Service) -> str:
    """One sentence if the last comparison found the clocks too far apart; empty otherwise."""
    return _why(Skew.objects.filter(environment=environment, service=service).first())


def _now(environment: Environment, service: Skew.Service, theirs: float) -> Skew:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8 - %s", [theirs])
        seconds = cursor.fetchone()[0]
    return Skew(environment=environment, service=service, seconds=seconds, measured_at=Now())


def _why(found: Skew | None) -> str:
    if found is None or not found.too_large:
        return ""
    sentence = (
        _("The database's clock is %(seconds)s s ahead of that of %(service)s. Set it right, then try again.")
        if found.seconds > 0
        else _("The database's clock is %(seconds)s s behind that of %(service)s. Set it right, then try again.")
    )
    return say(sentence, seconds=found.apart, service=Skew.Service(found.service).label)
