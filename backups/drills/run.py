"""The work of a drill: backup after backup is written into the scratch namespace, compared, and removed again.

Nothing else reaches the scratch namespace, so a repeated write or delete does no harm. A drill therefore has no
chunks: the run's cursor is its place, and each call is in the audit log before it is sent. Nothing is written while
the namespace holds a key that no drill wrote.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import batched

from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit.actions import Action
from backups import archive
from backups.bucket import access as bucket_access, newest_manifest
from backups.bucket.store import Store
from backups.drills import requests as drill_requests
from backups.execution import revalidation
from backups.execution.clients import Clients, open_clients
from backups.execution.live_values import SINGLE, live_values, takes_bulk, too_late
from backups.execution.prepaid import most_calls_for, reserve
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.generations.reader import GenerationReader, Wanted
from backups.models import Drill, DrilledBackup, GenerationEntry
from kvops import clock, timing
from kvops.approvals import gate as approval_gate, standing
from kvops.cloudflare import KvEntry
from kvops.models import Scratch
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, TryLater
from kvops.wording import columns, counted, say

MANY = 1_000
"""Keys per write and per delete."""
FEW = 100
"""Keys per comparison, and keys of a write that go by single puts: each can take several requests."""
LARGE = 20 * 1024 * 1024
"""Bytes of values per write."""
SOON = 180.0
"""Seconds: a key that expires sooner may be absent before it is compared."""
_STILL_LISTED = (
    gettext_noop("%(n)s key is still listed in the scratch namespace."),
    gettext_noop("%(n)s keys are still listed in the scratch namespace."),
)
_DOUBTFUL = (
    gettext_noop("%(n)s key may not have been written."),
    gettext_noop("%(n)s keys may not have been written."),
)
_WRITTEN = gettext_noop("Backup %(n)s: written up to entry %(total)s.")
_COMPARED = gettext_noop("Backup %(n)s: compared up to entry %(total)s.")
TRIES = 10
"""Listings, a settle time apart. The namespace must be listed as empty within this many."""


def run_drill(lease: Lease) -> Again | None:
    """One step of a drill. Raises RunError if the target or a right is no longer valid."""
    drill = Drill.objects.select_related("environment", "approval").get(run=lease.run)
    scratch = _insist_target(drill, lease)
    newest_manifest.insist_none(drill.environment)
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store(drill.environment) as store,
        open_clients(drill.environment) as clients,
        ExitStack() as stack,
    ):
        clients.insist_visible(scratch)
        return _DrillRun(drill, lease, clients, store, stack).step()


def _insist_target(drill: Drill, lease: Lease) -> Scratch:
    """Check that the namespace is the approved scratch namespace, and that the run carries the approval."""
    scratch = Scratch.objects.select_related("environment").filter(environment=drill.environment).first()
    if scratch is None or (scratch.namespace_id, scratch.title) != (drill.namespace_id, drill.title):
        raise RunError("wrong_target", gettext_noop("The scratch namespace has changed. Start a new drill."))
    not_carried = gettext_noop("The run does not carry the approval of its drill.")
    revalidation.approved(drill.approval, lease, f"drill:{drill.environment.slug}", not_carried, started=False)
    return scratch


class _DrillRun:
    """The work of one step on a drill."""

    def __init__(self, drill: Drill, lease: Lease, clients: Clients, store: Store, stack: ExitStack) -> None:
        self.drill, self.lease, self.clients, self.store = drill, lease, clients, store
        self._stack, self._reader = stack, dict[int, GenerationReader]()
        self._calls_before = lease.run.calls

    def step(self) -> Again | None:
        """Continue at the cursor until the step is over."""
        phases = {"empty": self._empty, "write": self._write, "compare": self._compare, "remove": self._remove}
        while not self.lease.tired:
            backup = self.drill.backups.filter(finished_at=None).select_related("generation").order_by("number").first()
            if backup is None:
                self._finish()
                return None
            again = phases[self.lease.run.cursor.get("phase", "empty")](backup)
            if again is not None:
                return again
        return Again()

    def _empty(self, backup: DrilledBackup) -> Again | None:
        """Before a backup is written and after it was removed, wait until the namespace is listed as empty."""
        cursor = self.lease.run.cursor
        left = self._listed()
        if left:
            tries = cursor.get("tries", 0) + 1
            if tries > TRIES:
                raise RunError("scratch_not_empty", counted(_STILL_LISTED[len(left) != 1], len(left)))
            self._delete(left, backup)
            note = gettext_noop("Waiting until the scratch namespace is empty.")
            with self.lease.checkpoint(cursor={**cursor, "phase": "empty", "tries": tries}, note=note):
                pass
            return Again(timing.SETTLE, note)
        over = cursor.get("over", False)
        with self.lease.checkpoint(cursor={} if over else {"phase": "write", "next": 0}, calls=self._calls):
            if over:
                drill_requests.close_backup(self.drill, backup, actor=self.lease.actor)
            else:
                DrilledBackup.objects.filter(pk=backup.pk, started_at=None).update(started_at=Now())
        return None

    def _write(self, backup: DrilledBackup) -> Again | None:
        """Write the next keys of the backup; those that expire too soon are left out."""
        wanted = self._wanted(backup, self.lease.run.cursor["next"], LARGE)
        if not wanted:
            with self.lease.checkpoint(cursor={"phase": "compare", "next": 0}, calls=self._calls):
                DrilledBackup.objects.filter(pk=backup.pk).update(written_at=Now())
            return Again(timing.SETTLE, gettext_noop("Waiting for the settle time before the keys are compared."))
        try:
            entries = self._taken(backup, wanted)
        except RunError as damaged:
            with self.lease.checkpoint(cursor={"phase": "remove", "next": 0}):
                DrilledBackup.objects.filter(pk=backup.pk).update(**columns("problem", damaged))
            return None
        wanted = wanted[: len(entries)]
        now = clock.now().timestamp()
        self._put([entry for entry in entries if not too_late(entry, now + SOON)], backup)
        with self.lease.checkpoint(
            cursor={"phase": "write", "next": wanted[-1].source + 1},
            calls=self._calls,
            note=_WRITTEN % {"n": backup.generation_id, "total": wanted[-1].source},
        ):
            pass
        return None

    def _taken(self, backup: DrilledBackup, wanted: Sequence[Wanted]) -> list[KvEntry]:
        """The first of these entries from the backup, up to the limit of single puts. Raises RunError."""
        found: list[KvEntry] = []
        alone = 0
        for one in wanted:
            found.append(self._from_backup(backup).take(one))
            alone += _alone(found[-1])
            if alone == FEW:
                break
        return found

    def _put(self, entries: Sequence[KvEntry], backup: DrilledBackup) -> None:
        """Write these entries. If an entry was not accepted everywhere, the whole chunk is written again.

        Raises TryLater.
        """
        alone = [entry for entry in entries if _alone(entry)]
        together = [entry for entry in entries if entry not in alone]
        reserve(self.clients.budget, 1 + len(alone))
        self.clients.meter.insist({"write": len(entries)})
        self._intend(Action.DRILL_WRITING, [entry.name for entry in entries], backup)
        doubtful = 0
        if together:
            with self.lease.fence():
                outcome = self.clients.writer.bulk_put(self.drill.namespace_id, together)
            doubtful = len(outcome.unsuccessful) + len(outcome.unknown)
        for entry in alone:
            self.lease.keep()
            self.clients.budget.keep()
            with self.lease.fence():
                doubtful += len(self.clients.writer.put_value(self.drill.namespace_id, entry).unknown)
        if doubtful:
            raise TryLater(counted(_DOUBTFUL[doubtful != 1], doubtful))

    def _intend(self, action: Action, names: Sequence[str], backup: DrilledBackup) -> None:
        """Check the rights and the emergency stop, then record the keys about to be written or removed."""
        try:
            standing.insist_standing(self.drill.approval)
        except approval_gate.ApprovalRefused as refused:
            raise RunError("rights_gone", refused) from refused
        sha256 = archive.names_sha256(sorted(names, key=str.encode))
        with self.lease.checkpoint(no_further=True):
            emergency.hold(self.drill.environment)
            details = {"names": len(names), "backup": backup.generation_id}
            drill_requests.record_drill(action, self.drill, actor=self.lease.actor, digest=sha256, details=details)

    def _compare(self, backup: DrilledBackup) -> Again | None:
        """Compare the next keys in KV with the digests taken when the backup was made."""
        cursor = self.lease.run.cursor
        wanted = self._wanted(backup, cursor["next"], LARGE)[:FEW]
        if not wanted:
            with self.lease.checkpoint(cursor={"phase": "remove", "next": 0}, calls=self._calls):
                pass
            return None
        reserve(self.clients.budget, most_calls_for(len(wanted)))
        self.clients.meter.insist({"read": len(wanted)})
        live = live_values(self.clients.reader, self.drill.namespace_id, wanted, backup.generation.read)
        key = encryption.digest_key(backup.generation)
        wrong = [one for one, entry in live if not isinstance(entry, KvEntry) or entry_digest(entry, key) != one.digest]
        over = self._over(backup, wrong)
        differing = [one.name for one in wrong if one.name not in over]
        if differing and cursor.get("tries", 0) < 3:
            with self.lease.checkpoint(cursor={**cursor, "tries": cursor.get("tries", 0) + 1}, calls=self._calls):
                pass
            return Again(timing.SETTLE, gettext_noop("Waiting: KV may still answer with an older state."))
        done = self.lease.run.done + len(wanted)
        note = _COMPARED % {"n": backup.generation_id, "total": wanted[-1].source}
        with self.lease.checkpoint(
            cursor={"phase": "compare", "next": wanted[-1].source + 1}, done=done, calls=self._calls, note=note
        ):
            DrilledBackup.objects.filter(pk=backup.pk).update(
                compared=F("compared") + len(wanted) - len(over),
                differing=F("differing") + len(differing),
                expired=F("expired") + len(over),
                example=backup.example or (differing[0] if differing else ""),
            )
        return None

    def _over(self, backup: DrilledBackup, wrong: Sequence[Wanted]) -> set[str]:
        """Those of the keys that expired, or had expired when they should have been written."""
        limit = clock.now().timestamp() + SOON
        entries = backup.generation.entries.filter(name__in=[one.name for one in wrong], expiration__lt=limit)
        return set(entries.values_list("name", flat=True))

    def _remove(self, backup: DrilledBackup) -> Again | None:
        """Delete the next keys of the backup."""
        wanted = self._wanted(backup, self.lease.run.cursor["next"], None)
        if not wanted:
            with self.lease.checkpoint(cursor={"phase": "empty", "over": True}, calls=self._calls):
                pass
            return Again(timing.SETTLE, gettext_noop("Waiting until the scratch namespace is empty."))
        self._delete([one.name for one in wanted], backup)
        with self.lease.checkpoint(cursor={"phase": "remove", "next": wanted[-1].source + 1}, calls=self._calls):
            pass
        return None

    def _delete(self, names: Sequence[str], backup: DrilledBackup) -> None:
        """Delete one key after the other; a later listing shows whether they are gone."""
        for some in batched(names, MANY):
            reserve(self.clients.budget, 1)
            self.clients.meter.insist({"delete": len(some)})
            self._intend(Action.DRILL_REMOVING, some, backup)
            with self.lease.fence():
                self.clients.writer.bulk_delete(self.drill.namespace_id, some)

    def _listed(self) -> list[str]:
        """A page of the keys in the scratch namespace. Raises RunError if a key was not written by a drill."""
        reserve(self.clients.budget, 1)
        page = self.clients.reader.list_keys(self.drill.namespace_id)
        names = [key.name for key in page.keys]
        drilled = GenerationEntry.objects.filter(
            generation__drilled__drill__namespace_id=self.drill.namespace_id, name__in=names
        )
        strange = set(names) - set(drilled.values_list("name", flat=True))
        if strange:
            sentence = _(
                "The scratch namespace holds %(name)s, which no drill put there. Nothing was written. Empty it by "
                "hand, or bind another one that nothing else uses."
            )
            raise RunError("scratch_not_empty", say(sentence, name=repr(min(strange))))
        if not names and page.cursor is not None:
            raise TryLater(gettext_noop("The listing of the scratch namespace goes on without a key."))
        return names

    def _wanted(self, backup: DrilledBackup, first: int, most_bytes: int | None) -> list[Wanted]:
        """The next entries of the drill, as many as one write takes."""
        entries = backup.generation.entries.filter(
            outcome=GenerationEntry.Outcome.KEPT, index__gte=first, index__lte=backup.last_index
        )
        found: list[Wanted] = []
        size = 0
        for index, name, length, value in entries.order_by("index").values_list("index", "name", "size", "digest")[
            :MANY
        ]:
            size += length or 0
            if found and most_bytes is not None and size > most_bytes:
                break
            found.append(Wanted(index, name, length or 0, "", "", index, bytes(value or b"")))
        return found

    def _from_backup(self, backup: DrilledBackup) -> GenerationReader:
        """The values of the backup, streamed in order for the duration of the step."""
        if backup.pk not in self._reader:
            bucket_access.insist_here(backup.generation)
            opened = GenerationReader(backup.generation, self.store, self.lease.keep)
            self._reader[backup.pk] = self._stack.enter_context(opened)
        return self._reader[backup.pk]

    def _finish(self) -> None:
        backups = list(self.drill.backups.all())
        passed = all(backup.good for backup in backups)
        result = {
            "backups": len(backups),
            "keys": sum(backup.compared for backup in backups),
            "differing": sum(backup.differing for backup in backups),
        }
        with self.lease.checkpoint(Done(result), cursor={}, done=self.lease.run.total or 0, calls=self._calls, note=""):
            Drill.objects.filter(pk=self.drill.pk, finished_at=None).update(finished_at=Now(), passed=passed)
            action = Action.DRILL_PASSED if passed else Action.DRILL_FAILED
            drill_requests.record_drill(action, self.drill, actor=self.lease.actor, details=result)
            if not passed:
                drill_requests.tell_failed(self.drill, backups)

    @property
    def _calls(self) -> int:
        return self._calls_before + self.clients.reader.calls + self.clients.writer.calls


def _alone(entry: KvEntry) -> bool:
    """Whether the entry must be written by a single put."""
    return len(entry.data) > SINGLE or not takes_bulk(entry)
