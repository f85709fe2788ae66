"""The rule of an expiry Worker: what a reviewer approves, its scope, and the keys that a round would take now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice

from backups.models import WorkerRule
from backups.worker_expiry import script
from backups.worker_expiry.exactness import keeps_exactly
from kvops import clock
from kvops.approvals import evidence
from kvops.models import ApprovalRequest
from kvops.names import workable

FORMAT = 1
"""The version of the rules that derive the evidence; it is part of the digest."""
KIND = ApprovalRequest.Kind.WORKER_EXPIRY
LOOKED = 100_000
"""Keys. A dry run on a page looks at this many; a round looks at all."""


def worker_rule(rule: WorkerRule, *, until: datetime) -> dict[str, object]:
    """The evidence of the standing approval: target, keys, expiration, cap, due times, end and the generated script."""
    namespace = rule.namespace
    environment = namespace.environment
    return {
        "format": FORMAT,
        "action": "give_expirations",
        "worker_rule": rule.pk,
        "environment": environment.slug,
        "api": environment.api_base_url,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "production": environment.production,
        "family": str(rule.family),
        "pattern": rule.family.pattern,
        "exact": rule.family.exact,
        "expiry": rule.family.expiry,
        "others": [f"{one}" for one in script.others(rule.family)],
        "ttl": rule.ttl,
        "cap": rule.cap,
        "cron": rule.cron,
        "reason": rule.reason,
        "worker": script.worker_name(rule),
        "script_sha256": script.script_sha256(rule),
        "lost_writes": "a value written between the read and the put of the Worker is lost, a key deleted in that"
        " minute comes back, an expiration set in it is replaced",
        "scope_digest": scope_digest(rule),
        "until": until.astimezone(UTC).isoformat(),
    }


def rule_digest(rule: WorkerRule, approval: ApprovalRequest) -> str:
    """The digest of the rule as derived now, with the end of the approval."""
    derived = worker_rule(rule, until=approval.standing_until or clock.now())
    return evidence.digest_of(evidence.canonical_evidence(derived))


def scope_digest(rule: WorkerRule) -> str:
    """SHA-256 over the keys and the expiration; equal in every environment with the same families."""
    family = rule.family
    scope = {
        "format": FORMAT,
        "binding": family.binding,
        "pattern": family.pattern,
        "exact": family.exact,
        "expiry": family.expiry,
        "others": [{"pattern": one.pattern, "exact": one.exact} for one in script.others(family)],
        "ttl": rule.ttl,
    }
    return sha256(evidence.canonical_evidence(scope).encode()).hexdigest()


@dataclass(frozen=True)
class ExpiryDryRun:
    """The keys that a round would take now: a page of names, and their number up to the cap.

    `over`: there are more keys than the cap, and later rounds take them. `partly`: the number is of the first `LOOKED`
    keys that may be taken.
    """

    names: Sequence[str]
    after: str | None
    count: int
    over: bool
    partly: bool


def dry_run(rule: WorkerRule, *, after: str = "", limit: int) -> ExpiryDryRun:
    """The keys of the newest scan that a round would take, in their order. A page looks at a bounded number of keys."""
    taken = list(islice(names_taken(rule, most=LOOKED), rule.cap + 1))
    capped = taken[: rule.cap]
    shown = [name for name in capped if name > after][: limit + 1]
    more = shown[limit - 1] if len(shown) > limit else None
    many = rule.namespace.key_set.under(rule.family.pattern).filter(family=rule.family)[LOOKED : LOOKED + 1]
    return ExpiryDryRun(shown[:limit], more, len(capped), over=len(taken) > rule.cap, partly=bool(many))


def names_taken(rule: WorkerRule, *, most: int | None = None) -> Iterator[str]:
    """The names of the family's keys without an expiration that a Worker can write back, in byte order."""
    found = rule.namespace.key_set.under(rule.family.pattern).filter(family=rule.family, expiration=None)
    rows = found.order_by("name").values_list("name", "metadata")[:most]
    for name, metadata in rows.iterator(10_000):
        if workable(name) and keeps_exactly(metadata):
            yield name
