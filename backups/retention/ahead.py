"""The backups that can be deleted from a day soon, for a page that asks its questions in two statements.

The first statement reads the reasons: successors, buckets and locks. By it and the families, the second one reads
only the backups on which `decide.decide` may set such a date.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import F, Q

from backups.bucket import protection as bucket_protection
from backups.models import BucketProtection, Generation
from backups.retention import inputs as retention_inputs
from backups.retention.inputs import Kept, Retention
from kvops.models import Environment, Family, Namespace
from kvops.web.gather import Gathered, Question
from kvops.web.objects import Objects, whole_objects

MOST = 200
"""Backups. At most this many are decided on, so that a page takes no longer for more of them."""
LONGEST = 100 * 365 * 86_400
"""Seconds. A lock that is longer ends no day soon."""

_FIELDS = (
    *("environment_id", "namespace_id", "prefixes", "patterns", "exact", "category", "purpose", "status"),
    *("bucket", "endpoint", "account_id", "stem", "started_at", "finished_at", "retain_until"),
)
_BUCKETS = Objects(
    Environment.objects.order_by("order"), "slug", "name", "account_id", "r2_endpoint", "r2_bucket", "key_template"
)
_LOCKS = whole_objects(BucketProtection.objects.order_by("pk"))
_NAMESPACES = Objects(Namespace.objects.order_by("pk"), "binding")
_BACKUPS = Objects(Generation.objects.order_by("finished_at", "pk"), *_FIELDS)


def questions() -> Mapping[str, Question]:
    """The facts that decide on any backup, but for the families and the holds."""
    return {
        "replacing": Objects(retention_inputs.replacing(), *_FIELDS).question,
        "buckets": _BUCKETS.question,
        "bucket_locks": _LOCKS.question,
        "bindings": _NAMESPACES.question,
    }


def candidates(answers: Gathered, families: Sequence[Family], ahead: timedelta) -> Question:
    """The backups that may have a date within `ahead`, the oldest first."""
    now, soon = answers.now, answers.now + ahead
    spans = {timedelta(days=one.retain_days) for one in families}
    shortest, locked = min(spans, default=timedelta()), Q()
    for protection in _LOCKS.of(answers, "bucket_locks"):
        for rule in bucket_protection.rules_of(protection):
            if rule.enabled and rule.seconds is not None:
                spans.add(timedelta(seconds=min(rule.seconds, LONGEST)))
            if rule.enabled and rule.date and now < datetime.fromisoformat(rule.date) <= soon:
                locked |= Q(environment=protection.environment_id)
    dated = locked | Q(retain_until__gt=now, retain_until__gte=F("finished_at") + shortest)
    for span in spans:
        dated |= Q(finished_at__gt=now - span, finished_at__lte=soon - span)
    # No date of a backup is before the one stored with it.
    found = Generation.objects.there().filter(dated, finished_at__isnull=False, retain_until__lte=soon)
    found = found.exclude(purpose=Generation.Purpose.INVESTIGATION).order_by("finished_at", "pk")
    return Objects(found[:MOST], *_FIELDS).question


def kept_until_soon(first: Gathered, second: Gathered, families: Sequence[Family], ahead: timedelta) -> Iterator[Kept]:
    """The backups that can be deleted from a moment within `ahead`, by the answers to both statements."""
    found = _whole(first, second, "going")
    if not found:
        return
    ages = [(one, first.now - one.read_at if one.read_at else None) for one in _LOCKS.of(first, "bucket_locks")]
    read = {one.environment_id: (one, age) for one, age in ages}
    buckets = {one.environment_id: one.environment for one in found}
    protections = [bucket_protection.known_by(one, *read.get(pk, (None, None))) for pk, one in buckets.items()]
    replacing = _whole(first, first, "replacing")
    retention = Retention(now=first.now, families=families, protections=protections, replacing=replacing)
    for kept in retention.of(found):
        due_at = kept.verdict.due_at
        if kept.verdict.goes_by(first.now + ahead) and due_at and due_at > first.now.astimezone(UTC):
            yield kept


def _whole(first: Gathered, answers: Gathered, name: str) -> Sequence[Generation]:
    """The backups of an answer, each with its environment and namespace."""
    environments = {one.pk: one for one in _BUCKETS.of(first, "buckets")}
    namespaces = {one.pk: one for one in _NAMESPACES.of(first, "bindings")}
    found = _BACKUPS.of(answers, name)
    for one in found:
        one.environment, one.namespace = environments[one.environment_id], namespaces[one.namespace_id]
    return found
