"""Alarms and protection of the buckets: `{% load bucket %}`."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from django import template
from django.conf import settings
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from audit.folding import FoldedLine
from backups.bucket import access as bucket_access, protection as bucket_protection, reconcile as bucket_reconcile
from backups.models import BucketProtection, StoredObject
from kvops import timing
from kvops.cloudflare import LockRule
from kvops.models import Environment
from kvops.overview.key_alarms import Alarm, in_order
from kvops.templatetags.states import look_of
from kvops.templatetags.ui import state_badge, value_size

register = template.Library()

Lock, Problem, Status = BucketProtection.Lock, BucketProtection.Problem, StoredObject.Status


@register.filter
def total_size(line: FoldedLine[StoredObject]) -> str:
    """The size of objects together. If one is encrypted, only the step is told, as of one value."""
    masked = any(one.encrypted for one in line.rows)
    return value_size(sum(one.size or 0 for one in line.rows), masked)


@register.inclusion_tag("includes/alarms.html")
def bucket_alarms(protections: Sequence[BucketProtection]) -> dict[str, object]:
    """The alarms of the buckets with these protections."""
    environments = [one.environment for one in protections]
    return {"alarms": in_order([*differing(environments), *unprotected(protections)])}


def differing(environments: Collection[Environment] | None = None) -> list[Alarm]:
    """Alarms for buckets that differ from the backups."""
    found = bucket_reconcile.buckets(_environments() if environments is None else environments)
    return [alarm for bucket in found for alarm in _differences(bucket)]


def unprotected(protections: Iterable[BucketProtection] | None = None) -> list[Alarm]:
    """Alarms for buckets that are not locked, are not private or are not known."""
    known = bucket_protection.known_of(_environments()).values() if protections is None else protections
    return [alarm for protection in known for alarm in _unprotected(protection.environment, protection)]


def _environments() -> list[Environment]:
    return list(Environment.objects.order_by("order"))


def _differences(bucket: bucket_reconcile.BucketListings) -> Iterator[Alarm]:
    name = {"environment": bucket.environment.name}
    if wrong := bucket.wrong:
        title = _("The bucket of %(environment)s differs from its backups") % name
        text = " · ".join(f"{look_of(f'object_{status}').word}: {_up_to(n)}" for status, n in wrong.items())
        worst = next(one for one in (Status.MISSING, Status.CHANGED, Status.UNKNOWN) if one in wrong)
        level = "warning" if worst == Status.UNKNOWN else "danger"
        url = f"{reverse('backups:storage')}?environment={bucket.environment.slug}&status=wrong#objects"
        yield Alarm(level, f"object.{worst.value}", title, text, url, _("See details"), environment=bucket.environment)
    if bucket.uploads:
        title = _("The bucket of %(environment)s holds unfinished uploads") % name
        text = _("KVOps never uses multipart uploads, so something else writes under the prefix of the backups.")
        url = f"{reverse('backups:storage')}#uploads"
        yield Alarm("warning", "bucket.uploads", title, text, url, _("See details"), environment=bucket.environment)


def _up_to(n: int) -> str:
    """A number of objects; "more than" the greatest number that is counted if there are more."""
    most = number_format(bucket_reconcile.COUNTED, force_grouping=True)
    return _("more than %(n)s") % {"n": most} if n > bucket_reconcile.COUNTED else number_format(n)


def _unprotected(environment: Environment, protection: BucketProtection) -> Iterator[Alarm]:
    name, url, see = (
        {"environment": environment.name},
        f"{reverse('backups:storage')}#protection",
        _("See the instructions"),
    )
    if not protection.known and protection.problem != Problem.NEVER:
        title = _("Bucket protection of %(environment)s is unknown")
        yield Alarm("warning", "bucket.unknown", title % name, protection.why, url, see, environment=environment)
    titles = {
        Lock.MISSING: _("The bucket of %(environment)s does not lock the backups"),
        Lock.DISABLED: _("The lock on the backups of %(environment)s is disabled"),
        Lock.SHORT: _("The lock on the backups of %(environment)s is too short"),
        Lock.NARROW: _("The lock of %(environment)s covers only part of the backups"),
    }
    if unlocked := titles.get(Lock(protection.lock)):
        text = _("Anyone with the bucket's credentials can delete backups younger than %(days)s days.")
        text %= {"days": timing.RETENTION_DAYS}
        yield Alarm("danger", "bucket.unprotected", unlocked % name, text, url, see, environment=environment)
    if protection.wider:
        title = _("A lock of %(environment)s covers more than the backups")
        text = _("Other data of the bucket cannot be deleted or overwritten either: %(rules)s.")
        text %= {"rules": ", ".join(protection.wider)}
        yield Alarm("warning", "bucket.wide_lock", title % name, text, url, see, environment=environment)
    if protection.deletes:
        title = _("Lifecycle rules of the bucket of %(environment)s delete backups")
        text = _("Lifecycle rules delete objects under the prefix of the backups: %(rules)s.")
        text %= {"rules": ", ".join(protection.deletes)}
        yield Alarm("danger", "bucket.lifecycle", title % name, text, url, see, environment=environment)
    if protection.public:
        title = _("Anybody can read the bucket of %(environment)s")
        text = _("The bucket is public at %(hosts)s.") % {"hosts": ", ".join(protection.public)}
        yield Alarm("danger", "bucket.public", title % name, text, url, see, environment=environment)


@register.inclusion_tag("storage/protection.html")
def bucket_protection_card(protection: BucketProtection) -> dict[str, object]:
    """The protection of an environment's bucket, its age, and the next step for each problem."""
    environment = protection.environment
    root = bucket_access.root(environment)
    return {
        "environment": environment,
        "protection": protection,
        "rules": [(rule, root.startswith(rule.prefix)) for rule in bucket_protection.rules_of(protection)]
        if protection.known
        else [],
        "root": root,
        "days": timing.RETENTION_DAYS,
        "needs_lock": protection.known and not protection.held,
        "unenforced": settings.SANDBOX and bool(protection.rules),
    }


@register.inclusion_tag("includes/state_badge.html")
def public_state(protection: BucketProtection) -> dict[str, object]:
    """Whether the bucket is public."""
    known = "public" if protection.public else "private"
    return state_badge(f"bucket_{known if protection.known else 'unknown'}")


@register.filter
def lasts(rule: LockRule) -> str:
    """The duration of a rule's lock, in words."""
    if rule.forever:
        return _("for ever")
    if rule.date:
        return _("until %(date)s") % {"date": rule.date[:10]}
    days = number_format((rule.seconds or 0) / 86_400, 0 if (rule.seconds or 0) % 86_400 == 0 else 1)
    return ngettext("%(days)s day each", "%(days)s days each", 1 if rule.seconds == 86_400 else 2) % {"days": days}
