"""The generated Worker: one module from `rounds.js` with the rule in it, and its configuration. No secret is inside.

The same rule gives the same bytes, so the digest of the script stands in the evidence. The configuration adds the
standing approval and its end, which are known only after the request.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from django.conf import settings

from backups.models import WorkerRule
from kvops.approvals.evidence import canonical_evidence
from kvops.models import ApprovalRequest, Family

TEMPLATE = Path(__file__).with_name("rounds.js")
PLACE = "/* the approved rule */ null"
COMPATIBILITY_DATE = "2026-11-01"
KEY = "KVOPS_KEY"
"""The name of the Worker's secret. `wrangler secret put` stores it; no file has it."""


def others(family: Family) -> Sequence[Family]:
    """The families that own some of the keys under this family's pattern: the longer patterns, and an exact one."""
    if family.exact:
        return []
    found = Family.objects.filter(binding=family.binding, pattern__startswith=family.pattern).exclude(pk=family.pk)
    return sorted(
        (one for one in found if len(one.pattern) > len(family.pattern) or one.exact),
        key=lambda one: (one.pattern, one.exact),
    )


def rule_in_script(rule: WorkerRule, beside: Iterable[Family] | None = None) -> dict[str, object]:
    """The rule as the script has it. `digest` is of the rest, so that KVOps knows which rule a Worker carries.

    `template` is the SHA-256 of the code around the rule: a script of another version of KVOps carries another digest.
    """
    family = rule.family
    values: dict[str, object] = {
        "rule": rule.pk,
        "namespace": rule.namespace.namespace_id,
        "pattern": family.pattern,
        "exact": family.exact,
        "others": [
            {"pattern": one.pattern, "exact": one.exact} for one in (others(family) if beside is None else beside)
        ],
        "ttl": rule.ttl,
        "cap": rule.cap,
        "template": sha256(TEMPLATE.read_bytes()).hexdigest(),
    }
    return {**values, "digest": sha256(canonical_evidence(values).encode()).hexdigest()}


def worker_script(rule: WorkerRule, beside: Iterable[Family] | None = None) -> str:
    """The module of the Worker; `beside` are the other families of its keys, if the caller read them."""
    return script_of(rule_in_script(rule, beside))


def script_of(values: Mapping[str, object]) -> str:
    """The module with these values."""
    # ASCII only, so that no name can end the line or hide in it.
    return TEMPLATE.read_text("utf-8").replace(PLACE, json.dumps(values, sort_keys=True, indent=2))


def script_sha256(rule: WorkerRule, beside: Iterable[Family] | None = None) -> str:
    """SHA-256 of the module, as `worker_script`."""
    return sha256(worker_script(rule, beside).encode()).hexdigest()


def worker_name(rule: WorkerRule) -> str:
    """The name of the Worker in the account."""
    return f"kvops-expiry-{rule.pk}"


def configuration(rule: WorkerRule, approval: ApprovalRequest) -> str:
    """The `wrangler.jsonc` beside the module, for this approval."""
    ends = approval.standing_until or approval.created_at
    values = {
        "$schema": "node_modules/wrangler/config-schema.json",
        "name": worker_name(rule),
        "main": "worker.js",
        "account_id": rule.namespace.environment.account_id,
        "compatibility_date": COMPATIBILITY_DATE,
        "workers_dev": False,
        "preview_urls": False,
        "kv_namespaces": [{"binding": "CACHE", "id": rule.namespace.namespace_id}],
        "durable_objects": {"bindings": [{"name": "ROUNDS", "class_name": "ExpiryRounds"}]},
        "migrations": [{"tag": "v1", "new_sqlite_classes": ["ExpiryRounds"]}],
        "triggers": {"crons": [rule.cron]},
        "vars": {"KVOPS_URL": settings.BASE_URL, "APPROVAL": str(approval.pk), "END": _utc(ends)},
        "observability": {"enabled": True},
    }
    secret = f"// The key of its calls is a secret: npx wrangler secret put {KEY}. Never write it into this file.\n"
    return secret + json.dumps(values, indent=2) + "\n"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
