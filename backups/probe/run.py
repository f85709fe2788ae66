"""One probe from its start entry to its outcome, and the removal of names and objects that a probe left."""

import time
from collections.abc import Callable, Sequence
from secrets import token_hex

from audit import log
from audit.actions import Action
from audit.chain import JSON
from audit.models import Entry
from backups.probe.bench import PREFIX, Bench, opened
from backups.probe.databases import D1
from backups.probe.findings import ProbeFinding, ProbeReport, ProbeState, find, without_keys
from backups.probe.leftovers import ProbeLeftovers, clean
from backups.probe.objects import R2
from backups.probe.reading import LAST_READS, READS
from backups.probe.target import Target, TargetRefused
from backups.probe.writing import FIRST, WRITES
from backups.retention.erasure import PROBED
from kvops.cloudflare import ApiError

KEYS = (*READS, *WRITES)
"""The behaviours that are looked at on the keys that the first ones wrote."""


def probe(target: Target, *, actor: log.Actor, sleep: Callable[[float], None] = time.sleep) -> ProbeReport:
    """Try each behaviour, remove what was made, and report.

    Raises TargetRefused before anything is written: a token does not see the namespace, or namespace or bucket are not
    empty.
    """
    prefix = f"{PREFIX}{token_hex(8)}"
    with opened(target, prefix, sleep) as bench:
        _insist_empty(bench)
        _record(Action.PROBE_STARTED, target, prefix, actor)
        findings: list[ProbeFinding] = []
        ended: dict[str, JSON] = {"ended": "broke off"}
        try:
            findings += [find(behaviour, bench) for behaviour in FIRST]
            there = findings[-1].state is ProbeState.EXPECTED
            findings += [find(one, bench) if there else without_keys(one) for one in KEYS]
            findings += [find(behaviour, bench) for behaviour in (*D1, *R2, *LAST_READS)]
            ended = {"ended": "complete"}
        finally:
            report = _report(bench, findings, clean(bench))
            _record(Action.PROBE_FINISHED, target, prefix, actor, {**ended, **_outcome(report)})
    return report


def clean_up(
    target: Target, prefix: str, *, actor: log.Actor, sleep: Callable[[float], None] = time.sleep
) -> ProbeLeftovers:
    """Remove what an earlier probe left under its prefix, and return the names that are still there.

    Raises TargetRefused unless the start of a probe with this prefix and target is in the audit log.
    """
    if not PROBED.fullmatch(prefix) or prefix not in _started(target):
        raise TargetRefused(
            f"No probe of this namespace and bucket started with the prefix {prefix}. Look for it in the audit log."
        )
    with opened(target, prefix, sleep) as bench:
        left = clean(bench)
        _record(
            Action.PROBE_CLEANED,
            target,
            prefix,
            actor,
            {"left": [*left.names, *left.locked], "requests": bench.allowance.sent},
        )
    return left


def _insist_empty(bench: Bench) -> None:
    target = bench.target
    for client, name in ((bench.reader, "read"), (bench.by_write_token, "write")):
        try:
            client.namespace(target.namespace_id)
        except ApiError as error:
            raise TargetRefused(f"The {name} token does not see the namespace. {error}") from error
    page = bench.reader.list_keys(target.namespace_id, limit=10)
    objects = bench.store.page("", limit=10)
    names = [*(key.name for key in page.keys), *(one.key for one in objects.objects)]
    if not names and page.cursor is None:
        return
    for prefix in _started(target):
        if any(name.startswith(prefix) for name in names):
            raise TargetRefused(
                f"An earlier probe left names or objects under {prefix}. Remove them: repeat the command with --clean"
                f" {prefix}"
            )
    raise TargetRefused("The namespace or the bucket is not empty. Make empty ones for the probe.")


def _started(target: Target) -> list[str]:
    """The prefixes of all probes of this target that started, newest first."""
    mine = Entry.objects.filter(
        action=Action.PROBE_STARTED,
        environment=target.environment.slug,
        details__namespace_id=target.namespace_id,
        details__bucket=target.bucket,
    )
    return [str(entry.details["prefix"]) for entry in mine.order_by("-seq")]


def _record(action: Action, target: Target, prefix: str, actor: log.Actor, more: dict[str, JSON] | None = None) -> None:
    with log.transaction():
        log.record(
            action,
            actor=actor,
            **log.subject("environment", target.environment.pk, prefix, environment=target.environment.slug),
            details={
                "prefix": prefix,
                "account_id": target.environment.account_id,
                "namespace_id": target.namespace_id,
                "bucket": target.bucket,
                "write_token": target.write_reference,
                **(more or {}),
            },
        )


def _report(bench: Bench, findings: Sequence[ProbeFinding], left: ProbeLeftovers) -> ProbeReport:
    target = bench.target
    return ProbeReport(
        target.environment.slug,
        target.namespace_id,
        target.bucket,
        bench.prefix,
        findings,
        bench.allowance.sent,
        left.names,
        left.locked,
    )


def _outcome(report: ProbeReport) -> dict[str, JSON]:
    return {
        "counts": dict(report.counts()),
        "differs": [one.name for one in report.findings if one.consequence],
        "left": [*report.left, *report.locked],
        "requests": report.requests,
    }
