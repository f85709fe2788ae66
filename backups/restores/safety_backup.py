"""The safety backup: before a restore overwrites keys, exactly these are backed up and verified.

The run waits for it. Only a key that still equals the safety backup is overwritten. A key that vanished while the
backup was made needs no overwriting; another backup is made without it. Before a write, the safety backup must be in
its bucket as it was written (`execution.presence`), as the backup of a deletion must.
"""

from collections.abc import Iterable
from itertools import takewhile

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.execution import presence
from backups.generations import start as generation_start
from backups.generations.reader import Wanted
from backups.generations.scope import BackupRefused
from backups.models import Generation, GenerationEntry, Restore
from backups.restores.preview import conflicting
from kvops import clock, timing
from kvops.models import Run
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError, TryLater
from kvops.wording import say

Status = Generation.Status


def back_up_first(restore: Restore, lease: Lease) -> Again | None:
    """None once a verified backup holds all keys that may be overwritten; until then, the time of the next check."""
    safety = restore.safety
    _insist_readable(safety)
    if is_backed_up(restore):
        return apart(safety)
    if safety is None or safety.status == Status.PARTIAL:
        _back_up(restore, lease)
        return Again(timing.RETRY, gettext_noop("Backing up the keys to be overwritten."))
    if safety.status == Status.DAMAGED or safety.work.state in Run.RESUMABLE:
        raise RunError(
            "no_safety_backup",
            say(
                _(
                    "The keys to overwrite could not be backed up first: see backup %(backup)s. Nothing was written. "
                    "Try its run again, then this."
                ),
                backup=safety.pk,
            ),
        )
    return Again(timing.RETRY, gettext_noop("Waiting for the verified backup of the keys to overwrite."))


def _insist_readable(safety: Generation | None) -> None:
    """Raise RunError if the backup lacks a key that could not be read: another one would lack it too."""
    unreadable = safety.entries.filter(outcome=GenerationEntry.Outcome.UNREADABLE).first() if safety else None
    if unreadable:
        raise RunError(
            "no_safety_backup",
            say(
                _(
                    "%(name)s could not be backed up first, because Cloudflare refuses its name. Nothing was written. "
                    "Prepare another restore: it leaves this key as it is."
                ),
                name=repr(unreadable.name),
            ),
        )


def apart(safety: Generation | None) -> Again | None:
    """Wait some minutes between the backup and the last reads: a key that is written all the time then differs."""
    if safety is None or safety.finished_at is None:
        return None
    wait = timing.STALE - (clock.now() - safety.finished_at).total_seconds()
    if wait <= 0:
        return None
    return Again(wait, gettext_noop("Waiting: the last reads start five minutes after the backup."))


def is_backed_up(restore: Restore) -> bool:
    """Whether a verified backup holds all keys that may be overwritten."""
    safety = restore.overwritten_backup
    if not restore.overwritten or (safety is not None and safety.status == Status.VERIFIED):
        return True
    # All keys vanished while they were backed up.
    return safety is not None and safety.status == Status.PARTIAL and safety.keys == 0


def verify_if_needed(restore: Restore, lease: Lease) -> bool:
    """Verify a safety backup that was verified more than a day ago; False while parts are left. Raises RunError."""
    safety = _relied_on(restore)
    return safety is None or presence.verify_if_needed(safety, lease, _nothing_written(restore))


def insist_in_place(restore: Restore, lease: Lease) -> None:
    """Raise RunError unless the safety backup is in its bucket as it was written."""
    safety = _relied_on(restore)
    if safety is not None:
        presence.insist_in_place(safety, lease, _nothing_written(restore))


def _relied_on(restore: Restore) -> Generation | None:
    """The verified safety backup; None while there is none, and if all its keys vanished."""
    found = restore.overwritten_backup
    return found if found and found.status == Status.VERIFIED else None


def _nothing_written(restore: Restore) -> str:
    begun = restore.chunks.filter(names__gt=0).exists()
    return say(_("Nothing more was written.") if begun else _("Nothing was written."))


def safety_digests(restore: Restore, names: Iterable[Wanted]) -> dict[str, bytes]:
    """The digests in the safety backup by name, for the keys that may be overwritten."""
    if restore.overwritten_backup is None:
        return {}
    kept = GenerationEntry.objects.filter(
        generation=restore.overwritten_backup,
        outcome=GenerationEntry.Outcome.KEPT,
        name__in=[one.name for one in names],
    )
    return {name: bytes(value or b"") for name, value in kept.values_list("name", "digest")}


def _back_up(restore: Restore, lease: Lease) -> None:
    names = conflicting(restore)
    first, last = names.first() or "", names.last() or ""
    with lease.checkpoint(note=gettext_noop("Backing up the keys to be overwritten.")):
        try:
            generation = generation_start.create_backup(
                restore.namespace,
                prefixes=[_common(first, last)],
                purpose=Generation.Purpose.RESTORE,
                actor=lease.actor,
                person=lease.run.started_by,
                restore=restore,
                exact=first == last,
            )
        except (BackupRefused, run_driver.AlreadyOpen) as refused:
            raise TryLater(refused) from refused
        Restore.objects.filter(pk=restore.pk, state=Restore.State.WRITING).update(safety=generation)


def _common(first: str, last: str) -> str:
    """The common prefix of all names between the two."""
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
