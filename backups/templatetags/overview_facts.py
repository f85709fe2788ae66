"""The bucket and the last restore drill of an environment, folded on the overview: `{% load overview_facts %}`."""

from django import template

from backups.models import BucketProtection, Drill
from kvops.models import Environment
from kvops.web.gather import Gathered, moment

register = template.Library()


@register.inclusion_tag("overview/_facts.html")
def environment_facts(answers: Gathered, environment: Environment) -> dict[str, object]:
    """The lock of the bucket, and the last drill that passed."""
    locks = {pk: BucketProtection.Lock(lock).label for pk, lock in answers["locks"]}
    drills = {pk: (drill, moment(at)) for pk, drill, at in answers["passed_drills"]}
    drill, at = drills.get(environment.pk, (None, None))
    late = at is None or answers.now - at > Drill.LATE
    return {
        "environment": environment,
        "lock": locks.get(environment.pk, BucketProtection.Lock.UNKNOWN.label),
        "drill": drill,
        "passed_at": at,
        "late": late,
    }
