"""Judges a trial by what the fakes were asked and hold, joined with the audit log; never by the product's own tables.

Only `stuck` asks the product, because only the product knows whether it thinks it is done.
"""

import json
from collections import Counter
from hashlib import sha256

from audit import verify
from audit.actions import Action
from audit.models import Entry
from backups.models import Restore
from bench.torture.rows import Found
from bench.torture.stand import OTHERS, Asked, Trial
from kvops.models import Run
from tests import judge, make
from tests.backups import cleaning

INTENTS = {"bulk_delete": Action.CHUNK_INTENDED, "bulk_put": Action.RESTORE_CHUNK_INTENDED}
"""The calls that may change KV, each with the entry that announces it."""


def verdict(trial: Trial) -> Found:
    """What is wrong after a trial, counted; everything is 0 when nothing is."""
    objects = trial.bucket.objects
    problems = judge.problems(trial.cloudflare.journal, judge.approved_sets(objects), judge.writable_sets(objects))
    found = {
        "keys lost": len(problems) + _missing(trial),
        # Nothing that is deleted in a trial comes back before everything is deleted.
        "double effects": sum(count > 1 for count in _deleted(trial).values()),
        "unmatched calls": _unmatched_calls(trial) + _unmatched_puts(trial),
        "gaps in the audit log": len(verify.verify().problems),
        "stuck": int(not _over(trial)),
    }
    return {name: float(count) for name, count in found.items()}


def _missing(trial: Trial) -> int:
    """Keys that are not there with their value: nobody approved them, they were written anew, or they were put back."""
    expected = {("production", name): cleaning.master(name) for name in trial.names["production"]}
    expected |= {(slug, name): b"stays" for slug in make.NAMESPACES for name in OTHERS} | trial.written
    return sum(_held(trial, slug, name) != value for (slug, name), value in expected.items())


def _held(trial: Trial, slug: str, name: str) -> bytes | None:
    item = trial.cloudflare.namespace(make.NAMESPACES[slug]).get(name)
    return item.data if item else None


def _deleted(trial: Trial) -> Counter[tuple[str, str]]:
    """How often each name was deleted while it was there."""
    slugs = {namespace: slug for slug, namespace in make.NAMESPACES.items()}
    return Counter(
        (slugs[call.namespace], name)
        for call in trial.cloudflare.journal
        for name, value in call.deleted.items()
        if value is not None
    )


def _over(trial: Trial) -> bool:
    """Whether the job is over, and everything that was to go was deleted."""
    to_go = {(slug, name) for slug, names in trial.names.items() for name in names} - trial.written.keys()
    left = [name for name in trial.names["qa"] if _held(trial, "qa", name) is not None]
    finished = Restore.objects.filter(state=Restore.State.DONE).exists() and not Run.objects.open().exists()
    return finished and not left and to_go <= _deleted(trial).keys()


def _unmatched_calls(trial: Trial) -> int:
    """Calls that change KV without an entry of their own before them that carries the digest of exactly their names."""
    intents = list(Entry.objects.filter(action__in=INTENTS.values()).order_by("seq"))
    slugs = {namespace: slug for slug, namespace in make.NAMESPACES.items()}
    unmatched = 0
    for call in sorted(trial.asked, key=lambda asked: asked.at):
        wanted = (INTENTS.get(call.route), _digest(call), slugs[call.namespace])
        mine = next(
            (e for e in intents if (e.action, e.digest, e.environment) == wanted and e.at.timestamp() <= call.at), None
        )
        if mine is None:
            unmatched += 1
        else:
            intents.remove(mine)
    return unmatched


def _digest(call: Asked) -> str:
    """What the entry must carry: the digest of the names, taken from the body as it arrived."""
    listed = json.loads(call.body) if call.route in INTENTS else []
    names = sorted((one if isinstance(one, str) else one["key"]).encode() for one in listed)
    return sha256(b"".join(len(name).to_bytes(4, "big") + name for name in names)).hexdigest()


def _unmatched_puts(trial: Trial) -> int:
    """Objects put that belong to no copy whose start is in the log before them."""
    started = [
        (entry.subject_label, entry.at.timestamp()) for entry in Entry.objects.filter(action=Action.GENERATION_STARTED)
    ]
    return sum(
        not any(put.namespace.startswith(stem) and at <= put.at for stem, at in started) for put in trial.bucket.asked
    )
