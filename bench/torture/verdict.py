"""Judges a trial by what the fakes were asked and hold, joined with the audit log; never by the product's own tables.

Only `stuck` asks the product, because only the product knows whether it thinks it is done.
"""

import json
from collections import Counter
from hashlib import sha256

from audit import verify
from audit.actions import Action
from audit.models import Entry
from backups.models import CleanupRequest
from bench.torture.rows import Found
from bench.torture.stand import OTHERS, Asked, Trial
from kvops.models import Run
from tests import judge, make


def verdict(trial: Trial) -> Found:
    """What is wrong after a trial, counted; everything is 0 when nothing is."""
    problems = judge.problems(trial.cloudflare.journal, judge.approved_sets(trial.bucket.objects))
    found = {
        "keys lost": len(problems) + _missing(trial),
        "double effects": _twice(trial),
        "unmatched calls": _unmatched_calls(trial) + _unmatched_puts(trial),
        "gaps in the audit log": len(verify.verify().problems),
        "stuck": int(not _over(trial)),
    }
    return {name: float(count) for name, count in found.items()}


def _missing(trial: Trial) -> int:
    """Keys nobody approved, or that were written after their deletion, that are not there with their value."""
    expected = dict(trial.written)
    for namespace in make.NAMESPACES.values():
        expected |= {(namespace, name): b"stays" for name in OTHERS}
    held = {key: trial.cloudflare.namespace(key[0]).get(key[1]) for key in expected}
    return sum(item is None or item.data != expected[key] for key, item in held.items())


def _twice(trial: Trial) -> int:
    """Names that were there and were deleted more often than once. No value in a trial is ever written twice."""
    times = Counter(
        (call.namespace, name)
        for call in trial.cloudflare.journal
        for name, value in call.deleted.items()
        if value is not None
    )
    return sum(count > 1 for count in times.values())


def _over(trial: Trial) -> bool:
    """Whether the job is over, and everything that was to go is gone."""
    left = [
        name
        for slug, names in trial.names.items()
        for name in names
        if trial.cloudflare.namespace(make.NAMESPACES[slug]).get(name) is not None
        and (make.NAMESPACES[slug], name) not in trial.written
    ]
    return (
        CleanupRequest.objects.filter(completed_at__isnull=False).exists()
        and not Run.objects.open().exists()
        and not left
    )


def _unmatched_calls(trial: Trial) -> int:
    """Calls that change KV without an entry of their own before them that carries the digest of exactly their names."""
    intents = list(Entry.objects.filter(action=Action.CHUNK_INTENDED).order_by("seq"))
    unmatched = 0
    for call in sorted(trial.asked, key=lambda asked: asked.at):
        digest = _digest(call)
        slug = next(slug for slug, namespace in make.NAMESPACES.items() if namespace == call.namespace)
        mine = next(
            (e for e in intents if (e.digest, e.environment) == (digest, slug) and e.at.timestamp() <= call.at), None
        )
        if mine is None:
            unmatched += 1
        else:
            intents.remove(mine)
    return unmatched


def _digest(call: Asked) -> str:
    """What the entry must carry; empty for a call that may not be there at all."""
    if call.route != "bulk_delete":
        return "a call that no entry announces"
    names = sorted(name.encode() for name in json.loads(call.body))
    return sha256(b"".join(len(name).to_bytes(4, "big") + name for name in names)).hexdigest()


def _unmatched_puts(trial: Trial) -> int:
    """Objects put that belong to no copy whose start is in the log before them."""
    started = [
        (entry.subject_label, entry.at.timestamp()) for entry in Entry.objects.filter(action=Action.GENERATION_STARTED)
    ]
    return sum(
        not any(put.namespace.startswith(stem) and at <= put.at for stem, at in started) for put in trial.bucket.asked
    )
