"""The rule of a scheduled clearing: what a reviewer approves, its scope, and the keys that it would clear now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice

from backups import policy
from backups.cleanup import qa
from backups.models import CleanupRequest, CleanupStage, Clearing
from kvops import clock
from kvops.approvals import evidence
from kvops.inventory import browse
from kvops.models import ApprovalRequest
from kvops.refusals import Refused


class ClearingRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


FORMAT = 1
"""The version of the rules that derive the evidence; it is part of the digest."""
KIND = ApprovalRequest.Kind.CLEARING
LOOKED = 100_000
"""Keys. A dry run on a page looks at this many; a round looks at all."""


def clearing_rule(clearing: Clearing, *, until: datetime) -> dict[str, object]:
    """The evidence of the standing approval: target, keys, cap, due times, end and the rules of the family."""
    namespace, schedule = clearing.namespace, clearing.schedule
    environment = namespace.environment
    return {
        "format": FORMAT,
        "action": "clear_cache",
        "clearing": clearing.pk,
        **target(clearing),
        "production": environment.production,
        "family": str(clearing.family),
        "reason": clearing.reason,
        "cap": clearing.cap,
        "cron": schedule.expression,
        "zone": schedule.zone,
        "kept_days": clearing.family.retain_days,
        "scope_digest": scope_digest(clearing),
        "until": until.astimezone(UTC).isoformat(),
    }


def target(clearing: Clearing) -> dict[str, object]:
    """The part of the rule that names the target: account, namespace, bucket and keys."""
    namespace = clearing.namespace
    environment = namespace.environment
    return {
        "environment": environment.slug,
        "api": environment.api_base_url,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "storage": environment.r2_endpoint,
        "bucket": environment.r2_bucket,
        "prefix": clearing.prefix,
        "only": clearing.only,
    }


def rule_digest(clearing: Clearing, approval: ApprovalRequest) -> str:
    """The digest of the rule as derived now, with the end of the approval."""
    rule = clearing_rule(clearing, until=approval.standing_until or clock.now())
    return evidence.digest_of(evidence.canonical_evidence(rule))


def scope_digest(clearing: Clearing) -> str:
    """SHA-256 over the keys and the policy's rules for them; equal in every environment, as that of a clean-up."""
    scope = qa.scope(request_of(clearing), policy.rules_of(policy.text_in_force()))
    return sha256(evidence.canonical_evidence(scope).encode()).hexdigest()


def request_of(clearing: Clearing, **values: object) -> CleanupRequest:
    """The clean-up request of a round, not saved."""
    return CleanupRequest(
        binding=clearing.namespace.binding,
        prefix=clearing.prefix,
        only=clearing.only,
        family=clearing.family,
        category=clearing.family.category,
        reason=clearing.reason,
        asked_by=clearing.subject,
        clearing=clearing,
        **values,
    )


def stage_of(clearing: Clearing, request: CleanupRequest) -> CleanupStage:
    """The stage of a round, not saved."""
    namespace = clearing.namespace
    return CleanupStage(
        request=request, environment=namespace.environment, namespace=namespace, order=1, scheduled=True
    )


@dataclass(frozen=True)
class DryRun:
    """The keys that a round would clear now: a page of names, and their number up to the cap.

    `partly`: the number is of the first `LOOKED` keys that may be taken; there are more to look at.
    """

    names: Sequence[str]
    after: str | None
    count: int
    over: bool
    partly: bool


def dry_run(clearing: Clearing, *, after: str, limit: int, now: datetime) -> DryRun:
    """The keys of the newest scan that the rule takes. A page looks at a bounded number of keys."""
    of = (clearing.namespace, clearing.family, clearing.prefix, clearing.selection, now.timestamp())
    names, count = [], 0
    for name, _ in islice(browse.chosen(*of, most=LOOKED), max(clearing.cap, limit) + 1):
        count += 1
        if count <= limit + 1:
            names.append(name)
    if after:
        names = [name for name, _ in islice(browse.chosen(*of, after=after, most=LOOKED), limit + 1)]
    more = names[limit - 1] if len(names) > limit else None
    beyond = clearing.namespace.key_set.under(clearing.prefix).filter(family=clearing.family)[LOOKED : LOOKED + 1]
    return DryRun(names[:limit], more, min(count, clearing.cap), count > clearing.cap, partly=beyond.exists())
