"""The runs with 1Password: one keeps a backup there, one looks whether the Documents of the newest still are.

Only the worker has the token of the service account. An archived item counts as missing, because 1Password no longer
lists it. Documents that a newer one superseded are not looked at: a person may remove them.
"""

from hashlib import sha256

from backups.bucket import access as bucket_access
from backups.bucket.store import ObjectMissing
from backups.exports import onepassword as onepassword_documents
from backups.exports.onepassword_store import DocumentStore
from backups.models import VaultDocument
from backups.vault import announcements as vault_announcements, documents
from backups.vault.start import NO_VAULT
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError

State = VaultDocument.State


def keep_in_vault(lease: Lease) -> None:
    """Put the backup into the vault and read it back. A Document that is already there as it should be stays."""
    related = ("generation__environment", "generation__namespace", "person")
    document = VaultDocument.objects.select_related(*related).get(run=lease.run)
    generation, vault = document.generation, document.vault
    with bucket_access.errors_for_a_run():
        try:
            put = onepassword_documents.put_document(generation, vault, between=lease.keep)
        except onepassword_documents.NotKept as refused:
            raise RunError("not_kept", refused) from refused
    with lease.checkpoint(Done({"vault": vault, "title": put.title, "item": put.item}), done=1):
        documents.record_kept(generation, vault, put, actor=lease.actor, person=document.person)


def look_into_vault(lease: Lease) -> Again | Done:
    """Read each Document and record its state, one after the other; a step that lasted long enough ends in between."""
    environment = lease.run.environment
    if environment is None or not environment.vault:
        raise RunError("no_vault", NO_VAULT)
    after, lost = lease.run.cursor.get("after", 0), lease.run.cursor.get("lost", 0)
    newest = sorted(documents.newest_of_each(environment), key=lambda one: one.pk)
    store = DocumentStore(environment.vault, between=lease.keep)
    for document in (one for one in newest if one.pk > after):
        if lease.tired:
            return Again()
        with bucket_access.errors_for_a_run():
            found = _look(store, document)
        lost += found != State.KEPT
        with lease.checkpoint(cursor={"after": document.pk, "lost": lost}, done=lease.run.done + 1):
            if documents.record_look(document, found, actor=lease.actor):
                vault_announcements.lost(document, found)
    return Done({"documents": len(newest), "lost": lost})


def _look(store: DocumentStore, document: VaultDocument) -> State:
    try:
        content = store.get(document.title)
    except ObjectMissing:
        return State.GONE
    return State.KEPT if sha256(content).hexdigest() == document.sha256 else State.CHANGED
