"""The rows of Documents in 1Password: kept, superseded, lost and found again."""

from django.db.models import QuerySet
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from backups.exports.onepassword import KeptObject
from backups.models import Generation, VaultDocument
from kvops.models import Environment, Person

State = VaultDocument.State


def stored(environment: Environment) -> QuerySet[VaultDocument]:
    """The Documents in the present vault of an environment, those of the newest backups first."""
    found = VaultDocument.objects.filter(
        generation__environment=environment, vault=environment.vault, state__in=VaultDocument.STORED
    )
    return found.select_related("generation__environment", "generation__namespace").order_by("-generation")


def newest_of_each(environment: Environment) -> list[VaultDocument]:
    """The Document of the newest kept backup for each namespace and set of prefixes."""
    newest = stored(environment).order_by("generation__namespace", "generation__prefixes", "-generation")
    return list(newest.distinct("generation__namespace", "generation__prefixes"))


def record_kept(
    generation: Generation, vault: str, put: KeptObject, *, actor: log.Actor, person: Person | None
) -> None:
    """Record that the backup is in the vault and was read back, within the caller's transaction."""
    log.insist()
    mine = {"generation__namespace": generation.namespace_id, "generation__prefixes": generation.prefixes}
    earlier = VaultDocument.objects.filter(vault=vault, state__in=VaultDocument.STORED, generation__lt=generation)
    before = earlier.filter(**mine).select_related("generation__environment").order_by("-generation").first()
    facts = {"title": put.title, "item": put.item, "sha256": put.sha256, "size": put.size, "supersedes": before}
    kept = {"state": State.KEPT, "kept_at": Now(), "seen_at": Now(), "lost_at": None}
    VaultDocument.objects.update_or_create(
        generation=generation,
        vault=vault,
        defaults={**facts, **kept},
        create_defaults={**facts, **kept, "actor": actor.text, "person": person},
    )
    log.record(
        Action.GENERATION_ELSEWHERE,
        actor=actor,
        **generation.audited,
        digest=put.sha256,
        details={"vault": vault, "title": put.title, "item": put.item, "bytes": put.size},
    )
    if before is not None:
        log.record(
            Action.VAULT_SUPERSEDED,
            actor=actor,
            **before.generation.audited,
            digest=before.sha256,
            details={"vault": vault, "item": before.item, "by": generation.pk},
        )


def record_look(document: VaultDocument, found: State, *, actor: log.Actor) -> bool:
    """Record the state in which a look found a Document. Return whether it was lost since the look before."""
    log.insist()
    before = VaultDocument.objects.select_for_update(of=("self",)).get(pk=document.pk)
    if before.state == State.WAITING:
        return False
    if found == State.KEPT:
        VaultDocument.objects.filter(pk=before.pk).update(state=found, seen_at=Now(), lost_at=None)
    elif before.state != found:
        VaultDocument.objects.filter(pk=before.pk).update(state=found, lost_at=Now())
    if before.state == found:
        return False
    actions = {State.KEPT: Action.VAULT_BACK, State.GONE: Action.VAULT_GONE, State.CHANGED: Action.VAULT_CHANGED}
    log.record(
        actions[found],
        actor=actor,
        **document.generation.audited,
        digest=document.sha256,
        details={"vault": document.vault, "title": document.title, "item": document.item},
    )
    return found != State.KEPT
