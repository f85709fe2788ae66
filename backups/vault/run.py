"""The run that keeps a backup in 1Password. Only the worker has the token of the service account."""

from backups.bucket import access as bucket_access
from backups.exports import onepassword as onepassword_documents
from backups.models import VaultDocument
from backups.vault import documents
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError


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
