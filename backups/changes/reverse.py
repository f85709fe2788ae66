"""The reverse change: it brings back the entry that a change replaced, as a change with an approval of its own.

Only the worker can open the backup, so a run prepares it: it reads the old entry out of the backup, reads KV as it is
now, and writes a proposal of both. The value is in the worker's memory and in that object, and nowhere else.
"""

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import access as bucket_access, newest_manifest
from backups.changes import proposal as proposals
from backups.changes.moves import ChangeRefused, insist_operator, locked, record_change
from backups.changes.proposal import Proposal
from backups.changes.propose import back_up, described, insist_changeable, insist_expiry, insist_free, live_entry
from backups.generations.reader import GenerationReader, Wanted
from backups.models import GenerationEntry, KeyChange
from kvops.cloudflare import KvEntry
from kvops.inventory import value as key_value
from kvops.models import Person, Run
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError
from kvops.wording import say


def prepare(change: KeyChange, *, by: Person) -> KeyChange:
    """Start to prepare the change that brings the old entry back. Raises ChangeRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(change)
        if mine.state != KeyChange.State.DONE or mine.outcome != KeyChange.Outcome.WRITTEN:
            raise ChangeRefused(_("Only a change that was written can be reversed."))
        if mine.new_key:
            raise ChangeRefused(_("The change created the key: ask to delete it on its page."))
        insist_changeable(mine.namespace, mine.name, new=False)
        insist_expiry(mine.environment)
        insist_free(mine.namespace, mine.name)
        made = KeyChange.objects.create(
            environment=mine.environment,
            namespace=mine.namespace,
            name=mine.name,
            asked_by=by,
            reverses=mine,
            bucket=mine.environment.r2_bucket,
            recipients=mine.recipients,
        )
        run = run_driver.create(
            Run.Kind.REVERSE_CHANGE,
            subject=made.subject,
            label=str(made)[:300],
            actor=by.actor,
            person=by,
            environment=made.environment,
            total=1,
        )
        KeyChange.objects.filter(pk=made.pk).update(prepare_run=run)
        begun = procedures.begun("change", mine.namespace.binding, [mine.name])
        told = {"key": mine.name, "command": key_value.put_command(mine.namespace, mine.name, mine.expiration_before)}
        record_change(Action.CHANGE_PREPARED, made, actor=by.actor, details={"reverses": mine.pk, **told, **begun})
    return made


def prepare_reverse(lease: Lease) -> None:
    """One step, the only one. Raises RunError if the old entry cannot be brought back."""
    related = ("environment", "namespace__environment", "reverses__generation__environment")
    change = KeyChange.objects.select_related(*related).get(prepare_run=lease.run)
    newest_manifest.insist_none(change.environment)
    if change.state != KeyChange.State.DRAFT or change.object_key:
        raise RunError("moved", gettext_noop("The change is not being prepared any more."))
    old_entry = _backed_up(change, lease)
    try:
        live = live_entry(change.namespace, change.name)
    except ChangeRefused as refused:
        raise RunError("unreadable", refused) from refused
    if live is None:
        raise RunError("gone", gettext_noop("The key is not in KV any more. Restore it from its backup."))
    proposal = Proposal(proposals.place_of(change.namespace, change.name), live, old_entry)
    if not proposal.parts:
        raise RunError("equal", gettext_noop("KV already holds the old value. There is nothing to reverse."))
    body = proposal.sealed(change.recipients)
    columns = described(change.environment, proposal, body, change.recipients)
    with bucket_access.errors_for_a_run(), bucket_access.store(change.environment) as store, lease.fence():
        store.put(str(columns["object_key"]), body, content_type="application/octet-stream")
    with lease.checkpoint(Done({"parts": proposal.parts}), done=1, note=""):
        draft = KeyChange.objects.filter(pk=change.pk, state=KeyChange.State.DRAFT, object_key="")
        if draft.update(**columns) != 1:
            raise RunError("moved", gettext_noop("The change is not being prepared any more."))
        change.refresh_from_db()
        back_up(change, actor=lease.actor, person=lease.run.started_by)
        details = {"key": change.name, "parts": list(proposal.parts), "object": change.object_key}
        record_change(Action.CHANGE_PREPARED, change, actor=lease.actor, digest=change.object_sha256, details=details)


def _backed_up(change: KeyChange, lease: Lease) -> KvEntry:
    """The entry that the reversed change replaced, out of its backup. Raises RunError."""
    backup = change.reverses.generation if change.reverses else None
    kept = (
        GenerationEntry.objects.filter(
            generation=backup, name=change.name, outcome=GenerationEntry.Outcome.KEPT
        ).first()
        if backup
        else None
    )
    if backup is None or kept is None:
        raise RunError(
            "no_backup", say(_("The backup of the old value does not hold %(name)s."), name=repr(change.name))
        )
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store_of(backup) as store,
        GenerationReader(backup, store, lease.keep) as reader,
    ):
        return reader.take(Wanted(0, kept.name, kept.size or 0, "", "", kept.index, bytes(kept.digest or b"")))
