"""The bucket and the last restore drill of each environment, folded on the overview: `{% load overview_facts %}`."""

from django import template

from backups.models import BucketProtection, Drill
from kvops.overview.estate import Estate

register = template.Library()


@register.inclusion_tag("overview/_facts.html")
def environment_facts(estate: Estate) -> dict[str, object]:
    """The lock of each bucket, and the last drill that passed."""
    locks = dict(BucketProtection.objects.values_list("environment_id", "lock"))
    passed = Drill.objects.filter(passed=True).order_by("environment", "-pk").distinct("environment")
    drills = {drill.environment_id: drill for drill in passed}
    facts = []
    for environment in estate.environments.values():
        lock, drill = locks.get(environment.pk, BucketProtection.Lock.UNKNOWN), drills.get(environment.pk)
        late = drill is None or drill.finished_at is None or estate.now - drill.finished_at > Drill.LATE
        facts.append((environment, BucketProtection.Lock(lock).label, drill, late))
    return {"facts": facts}
