"""The reverse change: it brings back the entry that a change replaced, as a change with an approval of its own.

Only the worker can open the backup, so a run prepares it: it reads the old entry out of the backup, reads KV as it is
now, and writes a proposal of both. The value is in the worker's memory and in that object, and nowhere else. The row
names the object before it is put, so that a change that is given up loses it.
"""

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import access as bucket_access, newest_manifest
from backups.bucket.r2 import R2Store
from backups.changes import proposal as proposals, review_key
from backups.changes.moves import ChangeRefused, insist_operator, locked, record_change
from backups.changes.proposal import Proposal, ProposalRefused
from backups.changes.propose import back_up, described, insist_changeable, insist_expiry, insist_free, live_entry, told
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.generations.reader import GenerationReader, Wanted
from backups.models import GenerationEntry, KeyChange
from kvops.cloudflare import KvEntry
from kvops.models import Person, Run
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError
from kvops.wording import say


def prepare(change: KeyChange, *, by: Person) -> KeyChange:
    """Start to prepare the change that brings the old entry back. Raises ChangeRefused and ReviewKeyMissing."""
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
            recipients=review_key.recipients(),
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
        details = {"reverses": mine.pk, "key": mine.name, **begun}
        record_change(Action.CHANGE_PREPARED, made, actor=by.actor, details=details)
    return made


def prepare_reverse(lease: Lease) -> None:
    """One step, the only one. Raises RunError if the old entry cannot be brought back."""
    related = ("environment", "namespace__environment", "reverses__generation__environment")
    change = KeyChange.objects.select_related(*related).get(prepare_run=lease.run)
    newest_manifest.insist_none(change.environment)
    if change.state != KeyChange.State.DRAFT or change.object_sha256:
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
    _insist_ours(change, live)
    if not change.object_key:
        _begin(change, proposal, lease)
    with bucket_access.errors_for_a_run(), bucket_access.store(change.environment) as store:
        body = _stored(change, proposal, store, lease)
    with lease.checkpoint(Done({"parts": proposal.parts}), done=1, note=""):
        _fill(change, object_sha256=proposals.digest(body))
        details = told(change, proposal)
        record_change(Action.CHANGE_PREPARED, change, actor=lease.actor, digest=change.object_sha256, details=details)


def _insist_ours(change: KeyChange, live: KvEntry) -> None:
    """Raise RunError unless KV holds the entry that the reversed change wrote."""
    written = change.reverses
    key = encryption.digest_key_of(written.digest_key) if written else b""
    if written is None or entry_digest(live, key).hex() != written.digest_after:
        sentence = _(
            "%(name)s was changed again after the change that this one reverses. End it here, and make an ordinary "
            "change in its place."
        )
        raise RunError("changed_again", say(sentence, name=repr(change.name)))


def _begin(change: KeyChange, proposal: Proposal, lease: Lease) -> None:
    """Commit the name of the object, and what changes, and start the backup, before the object is put."""
    with lease.checkpoint(no_further=True):
        _fill(change, **described(change.environment, proposal, change.recipients))
        try:
            back_up(change, actor=lease.actor, person=lease.run.started_by)
        except Refused as refused:
            raise RunError("no_backup", refused) from refused


def _fill(change: KeyChange, **columns: object) -> None:
    """Fill in the columns of the draft. Raises RunError if it is not being prepared any more."""
    draft = KeyChange.objects.filter(pk=change.pk, state=KeyChange.State.DRAFT, object_sha256="")
    if draft.update(**columns) != 1:
        raise RunError("moved", gettext_noop("The change is not being prepared any more."))
    change.refresh_from_db()


def _stored(change: KeyChange, proposal: Proposal, store: R2Store, lease: Lease) -> bytes:
    """The ciphertext in the bucket: put now, or before an earlier worker died. Raises RunError for another object."""
    if store.head(change.object_key) is None:
        body = proposal.sealed(change.recipients)
        with lease.fence():
            store.put(change.object_key, body, content_type="application/octet-stream")
        return body
    body = store.get(change.object_key)
    try:
        same = proposals.unsealed(body, change.object_key, encryption.identities()) == proposal
    except ProposalRefused as refused:
        raise RunError("wrong_proposal", refused) from refused
    if not same:
        sentence = _("%(key)s is another object than the one proposed.")
        raise RunError("wrong_proposal", say(sentence, key=change.object_key))
    return body


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
