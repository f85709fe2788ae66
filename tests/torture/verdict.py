"""Judges a trial by what the fakes were asked and hold, joined with the audit log; never by the product's own tables.

Only `stuck` asks the product, because only the product knows whether it thinks it is done.
"""

from collections import Counter

from audit import verify
from audit.actions import Action
from audit.models import Entry
from backups.models import BulkChange
from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.torture import bulk_job, change_job, clear_job, clicks, joined, restore_job
from tests.torture.rows import Found
from tests.torture.trial_estate import OTHERS, EstateTrial


def of_main_job(trial: EstateTrial) -> Found:
    """What is wrong after a trial of the main job, counted; everything is 0 when nothing is."""
    # Nothing that is deleted in a trial comes back before everything is deleted.
    return _verdict(trial, effects=_deleted(trial), over=_over(trial))


def of_restore(trial: EstateTrial) -> Found:
    """The same of the restore job: everything that was copied is there, whatever was written in between."""
    return _verdict(trial, effects=_written(trial), over=restore_job.over())


def of_change(trial: EstateTrial) -> Found:
    """The same of the change job: the key has the new value, and nothing of the proposal is left."""
    left = [key for key in trial.bucket.objects if key.startswith("proposals/")]
    return _verdict(trial, effects=_written(trial), over=change_job.over() and not left)


def of_clear(trial: EstateTrial) -> Found:
    """The same of the clear job: every key of the rule is gone, and no other."""
    left = [name for name in trial.names["qa"] if _held(trial, "qa", name) is not None]
    return _verdict(trial, effects=_deleted(trial), over=clear_job.over() and not left)


def of_bulk(trial: EstateTrial) -> Found:
    """The same of the bulk change: each key of the cache has its value and one time, which is that of the row."""
    found = _verdict(trial, effects=_written(trial), over=bulk_job.over())
    times = {item.expiration for item in trial.cloudflare.namespace(make.NAMESPACES["qa"]).walk(bulk_job.PREFIX, None)}
    fixed = set(BulkChange.objects.values_list("expiration", flat=True))
    return {**found, "keys lost": found["keys lost"] + float(times != fixed)}


def _verdict(trial: EstateTrial, *, effects: Counter[tuple[str, str]], over: bool) -> Found:
    objects = {**trial.bucket.erased, **trial.bucket.objects}
    problems = judge.problems(trial.cloudflare.journal, judge.approved_sets(objects), judge.writable_sets(objects))
    found = {
        "keys lost": len(problems) + _missing(trial),
        "double effects": sum(count > 1 for count in effects.values()),
        "unmatched calls": joined.unmatched(joined.pairs(trial)) + joined.unsettled() + _unmatched_puts(trial),
        "gaps in the audit log": len(verify.verify().problems),
        "stuck": int(not over),
    }
    return {name: float(count) for name, count in found.items()}


def _missing(trial: EstateTrial) -> int:
    """Keys that are not there with their value: nobody approved them, they were written anew, or they were put back."""
    expected = {("production", name): cleanup_helpers.master(name) for name in trial.names["production"]}
    expected |= {(slug, name): b"stays" for slug in make.NAMESPACES for name in OTHERS} | trial.written
    return sum(_held(trial, slug, name) != value for (slug, name), value in expected.items())


def _held(trial: EstateTrial, slug: str, name: str) -> bytes | None:
    item = trial.cloudflare.namespace(make.NAMESPACES[slug]).get(name)
    return item.data if item else None


def _deleted(trial: EstateTrial) -> Counter[tuple[str, str]]:
    """How often each name was deleted while it was there."""
    slugs = {namespace: slug for slug, namespace in make.NAMESPACES.items()}
    return Counter(
        (slugs[call.namespace], name)
        for call in trial.cloudflare.journal
        for name, value in call.deleted.items()
        if value is not None
    )


def _written(trial: EstateTrial) -> Counter[tuple[str, str]]:
    """How often each name was written."""
    return Counter((call.namespace, name) for call in trial.cloudflare.journal for name in call.written)


def _over(trial: EstateTrial) -> bool:
    """Whether the job is over, and everything that was to go was deleted."""
    to_go = {(slug, name) for slug, names in trial.names.items() for name in names} - trial.written.keys()
    left = [name for name in trial.names["qa"] if _held(trial, "qa", name) is not None]
    return clicks.over() and not left and to_go <= _deleted(trial).keys()


def _unmatched_puts(trial: EstateTrial) -> int:
    """Objects put that belong to no copy or proposal that is in the log before them."""
    started = [
        (entry.subject_label, entry.at.timestamp()) for entry in Entry.objects.filter(action=Action.GENERATION_STARTED)
    ]
    prepared = Entry.objects.filter(action=Action.CHANGE_PREPARED)
    started += [(str(entry.details["object"]), entry.at.timestamp()) for entry in prepared]
    return sum(
        not any(put.namespace.startswith(stem) and at <= put.at for stem, at in started) for put in trial.bucket.asked
    )
