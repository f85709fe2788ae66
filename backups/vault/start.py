"""Starts the keeping of a settings backup in 1Password, by a person or by the schedule of its environment."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.exports import onepassword as onepassword_documents
from backups.models import Generation, VaultDocument
from backups.vault import documents, standing
from kvops import timing
from kvops.models import Category, Environment, Person, Role, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.schedules.jobs import Begun
from kvops.supervision import heartbeats
from kvops.wording import reason_of, say

MOST = 20
"""Backups that one due time of a schedule keeps. A service account may make only so many calls a day."""
HEARTBEAT = "onepassword"

NO_VAULT = _("environments.toml names no 1Password vault for this environment.")
NO_WORKER = _("No worker that may use 1Password was seen lately. The page “1Password” says how to set it up.")


class VaultRefused(Refused):
    """The backup cannot be kept in 1Password; the message is one sentence."""


def worker_ready() -> bool:
    """Whether a worker with the SDK and the token of 1Password was seen lately."""
    seen = heartbeats.age(HEARTBEAT)
    return seen is not None and seen <= timing.CANARY_LATE


def why_not(generation: Generation) -> str | Promise:
    """The reason why the backup cannot be kept in 1Password now; empty if it can."""
    try:
        _insist(generation)
    except Refused as refused:
        return reason_of(refused)
    return ""


def is_offered(generation: Generation) -> bool:
    """Whether 1Password is a place for this backup: one of settings whose dates the policy decides."""
    kept = generation.is_lasting and generation.purpose != Generation.Purpose.MASTERS
    return kept and generation.category == Category.SETTINGS and generation.status in Generation.VERIFIABLE


def _insist(generation: Generation) -> None:
    if not is_offered(generation):
        raise VaultRefused(_("Only backups of settings are kept in 1Password."))
    vault = generation.environment.vault
    if not vault:
        raise VaultRefused(NO_VAULT)
    onepassword_documents.insist_keepable(generation)
    known = VaultDocument.objects.filter(generation=generation, vault=vault).select_related("run").first()
    if known and known.state == VaultDocument.State.KEPT:
        raise VaultRefused(say(_("The backup is already in the vault %(vault)s."), vault=vault))
    if known and known.run and known.run.is_open:
        raise VaultRefused(_("The backup is being put into 1Password now."))
    if not worker_ready():
        raise VaultRefused(NO_WORKER)


def create_keeping(generation: Generation, *, actor: log.Actor, person: Person | None = None) -> Run:
    """Create the run that keeps a backup in its environment's vault, within the caller's transaction.

    Raises Refused.
    """
    log.insist()
    if person is not None and not person.holds(Role.OPERATOR):
        raise VaultRefused(_("Only an operator can start it."))
    Generation.objects.select_for_update(of=("self",), no_key=True).get(pk=generation.pk)
    _insist(generation)
    vault = generation.environment.vault
    run = run_driver.create(
        Run.Kind.VAULT,
        subject=f"generation:{generation.pk}",
        label=generation.stem[:300],
        actor=actor,
        person=person,
        environment=generation.environment,
    )
    asked = {"run": run, "person": person, "actor": actor.text}
    VaultDocument.objects.update_or_create(generation=generation, vault=vault, defaults=asked)
    log.record(Action.VAULT_ASKED, actor=actor, **generation.audited, details={"vault": vault, "run": run.pk})
    return run


start_keeping = log.transaction()(create_keeping)
"""`create_keeping` in a transaction of its own."""


def keep_now(generation: Generation, vault: str, *, actor: log.Actor) -> str:
    """Keep a backup in a vault from this process, and return the title of the Document.

    Raises NotKept and StoreError.
    """
    put = onepassword_documents.put_document(generation, vault)
    with log.transaction():
        documents.record_kept(generation, vault, put, actor=actor, person=None)
    return put.title


def scheduled(environment: Environment, actor: log.Actor) -> Begun:
    """Keep the verified settings backups that are not in the vault yet, and look whether the others still are."""
    begun = Begun()
    if not environment.vault:
        return begun
    waiting = [backup for line in standing.lines(environment) for backup in line.to_keep]
    if not worker_ready():
        begun.refused += [NO_WORKER] if waiting else []
        return begun
    for generation in waiting[:MOST]:
        with begun.or_refused():
            begun.runs.append(create_keeping(generation, actor=actor))
    if documents.stored(environment).exists():
        with begun.or_refused():
            begun.runs.append(_create_look(environment, actor))
    return begun


def _create_look(environment: Environment, actor: log.Actor) -> Run:
    return run_driver.create(
        Run.Kind.VAULT_CHECK,
        subject=f"vault:{environment.pk}",
        label=f"1Password: {environment.vault}",
        actor=actor,
        environment=environment,
    )
