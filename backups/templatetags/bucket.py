"""Alarms and protection of the buckets: `{% load bucket %}`."""

from collections.abc import Sequence

from django import template
from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from audit.folding import FoldedLine
from backups.bucket import access as bucket_access, protection as bucket_protection, waiting
from backups.models import BucketProtection, StoredObject
from kvops import timing
from kvops.cloudflare import LockRule
from kvops.overview.key_alarms import in_order
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
    return {"alarms": in_order([*waiting.differing(environments), *waiting.unprotected(protections)])}


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
