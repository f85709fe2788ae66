"""Starts backups and their verification; `export` and `verification` do the work."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import archive, policy
from backups.archive import Damaged
from backups.bucket import access as bucket_access
from backups.generations import announcements as generation_announcements, encryption, scope
from backups.generations.export import entry_digest
from backups.generations.freeze import freeze_from_keys, freeze_from_restore, freeze_from_stage
from backups.generations.scope import BackupRefused
from backups.generations.verification import ReadBack
from backups.models import CleanupStage, Generation, GenerationEntry, Restore
from kvops import clock, rollback, timing
from kvops.cloudflare import KvEntry
from kvops.models import Category, Family, Key, Namespace, Person, Read, Run
from kvops.prefixes import distinct_of_keys
from kvops.refusals import Refused, Sentence
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again
from kvops.wording import say


@dataclass(frozen=True)
class ChosenKeys:
    """Keys of the inventory that a backup is made of, all of one family."""

    family: Family
    keys: QuerySet[Key]


class NotVerifiable(Refused):
    """The backup is not complete, so it cannot be verified."""


def create_backup(
    namespace: Namespace,
    *,
    prefixes: Collection[str],
    actor: log.Actor,
    person: Person | None = None,
    purpose: Generation.Purpose = Generation.Purpose.ROUTINE,
    stage: CleanupStage | None = None,
    restore: Restore | None = None,
    only: str | None = None,
    chosen: ChosenKeys | None = None,
    ends_at: datetime | None = None,
    foreground: bool = False,
    exact: bool = False,
) -> Generation:
    """Create a backup of all keys under the prefixes, in the caller's transaction.

    Routine backups of caches are refused. With `exact`, the prefix is the whole name of the only key.

    With a stage, the backup holds exactly the stage's frozen names; with a restore, exactly the names it may overwrite;
    with `only`, exactly this name; with `chosen`, exactly these keys of one family.
    An investigation backup ends with its investigation.

    The run decides about encryption when it knows all names. If encryption is not set up, keys that need it make the
    run fail before it reads a value. Raises BackupRefused if the newest scan knows such keys already or
    the policy was edited, and run_driver.AlreadyOpen.
    """
    log.insist()
    if why := rollback.why_read_only():
        raise BackupRefused(why)
    if edited := policy.why_edited():
        raise BackupRefused(edited)
    prefixes = distinct_of_keys(prefixes)
    given = any(one is not None for one in (stage, restore, only, chosen))
    families = [stage.request.family] if stage else [chosen.family] if chosen else scope.reached(namespace, prefixes)
    if purpose == Generation.Purpose.ROUTINE and families and scope.category(families) == Category.CACHE:
        raise BackupRefused(
            _("Caches are backed up only for an investigation with a name and an end. Open an investigation instead.")
        )
    if not encryption.possible():
        _insist_in_the_clear(namespace, prefixes, families, listed=not given)
    at = insist_time(namespace)
    try:
        named = bucket_access.investigation_stem if purpose == Generation.Purpose.INVESTIGATION else bucket_access.stem
        stem = named(namespace.environment, prefixes, at)
    except archive.LayoutError as error:
        raise BackupRefused(*error.args) from error
    generation = begin(
        Generation(
            namespace=namespace,
            prefixes=prefixes,
            category=scope.category(families or [None]),
            patterns=[str(family) for family in families] if given else [],
            exact=exact or (stage is not None and stage.request.exact),
            purpose=purpose,
            read=scope.read_mode(families) if given else Read.BULK,
            stem=stem,
            started_at=at,
            retain_until=ends_at or at + timedelta(days=timing.RETENTION_DAYS),
        ),
        actor=actor,
        person=person,
        foreground=foreground,
    )
    if stage:
        freeze_from_stage(generation, stage)
    if restore:
        freeze_from_restore(generation, restore)
    if chosen:
        freeze_from_keys(generation, chosen.keys)
    if only is not None:
        generation.entries.create(index=0, name=only)
    return generation


start_backup = log.transaction()(create_backup)
"""`create_backup` in a transaction of its own."""


def insist_time(namespace: Namespace) -> datetime:
    """The database's time. Raises BackupRefused if it is before the newest backup."""
    at = clock.now()
    if clock.went_back() or Generation.objects.filter(namespace=namespace, started_at__gte=at).exists():
        raise BackupRefused(_("The database's clock is behind the newest backup. Set it right first."))
    return at


def begin(
    generation: Generation,
    *,
    actor: log.Actor,
    person: Person | None,
    foreground: bool,
    kind: Run.Kind = Run.Kind.BACKUP,
) -> Generation:
    """Save a new backup, its run and its audit entry in the caller's transaction. Raises run_driver.AlreadyOpen."""
    namespace, prefixes = generation.namespace, generation.prefixes
    generation.run = run_driver.create(
        kind,
        subject=_subject(namespace, prefixes, generation.purpose),
        label=f"{namespace} {' '.join(generation.shown_prefixes)}"[:300],
        actor=actor,
        person=person,
        environment=namespace.environment,
        foreground=foreground,
    )
    generation.environment = namespace.environment
    generation.made_by, generation.actor = person, actor.text
    generation.bucket = namespace.environment.r2_bucket
    generation.endpoint = namespace.environment.r2_endpoint
    generation.account_id = namespace.environment.account_id
    generation.save()
    log.record(
        Action.GENERATION_STARTED,
        actor=actor,
        **generation.audited,
        details={
            "namespace": str(namespace),
            "prefixes": prefixes,
            "purpose": Generation.Purpose(generation.purpose).value,
            **({"source": generation.source} if generation.source else {}),
            **_procedure(generation),
        },
    )
    return generation


def _procedure(generation: Generation) -> dict[str, JSON]:
    """The procedure of the backup; none for one that is a step of another operation."""
    names = {Generation.Purpose.MASTERS: "backup_masters", Generation.Purpose.ROUTINE: "backup_clinics"}
    name = names.get(Generation.Purpose(generation.purpose), "")
    if name == "backup_clinics" and Category(generation.category).sensitive:
        name = "backup_settings"
    return procedures.begun(name, generation.namespace.binding, generation.prefixes) if name else {}


def _insist_in_the_clear(
    namespace: Namespace, prefixes: Sequence[str], families: Collection[Family], *, listed: bool
) -> None:
    """Encryption is not set up: raise BackupRefused if the backup is known to need it."""
    if listed and (count := scope.secret_in_inventory(namespace, prefixes)):
        raise scope.refusal(namespace, prefixes, count)
    if all(map(encryption.needed, families)):
        raise BackupRefused(
            say(
                _("Keys of %(binding)s under %(prefixes)s must be backed up encrypted. %(how)s"),
                binding=namespace.binding,
                prefixes=", ".join(prefixes),
                how=encryption.HOW,
            )
        )


def _subject(namespace: Namespace, prefixes: Collection[str], purpose: str) -> str:
    """The subject of the run: it prevents a second click from starting the same backup."""
    return f"namespace:{namespace.pk}/{sha256(chr(0).join([purpose, *prefixes]).encode()).hexdigest()[:16]}"


def backup_finished(run: Run) -> None:
    """Hook: notify of the backup, and verify it at once if it is complete.

    The backup of a clean-up stage is verified when its stage has moved on, the backup of a command by the command.
    """
    generation = Generation.objects.select_related("environment", "namespace__environment").get(run=run)
    generation_announcements.made(generation)
    awaited = CleanupStage.objects.filter(generation=generation, state=CleanupStage.State.FROZEN).exists()
    if generation.status == Generation.Status.COMPLETE and not run.foreground and not awaited:
        create_verification(generation, actor=log.Actor(run.started_by_id, run.actor), person=run.started_by)


def create_verification(
    generation: Generation, *, actor: log.Actor, person: Person | None = None, foreground: bool = False
) -> Run:
    """Create the verification of a complete backup, also of a damaged one, in the caller's transaction.

    Raises NotVerifiable and run_driver.AlreadyOpen.
    """
    log.insist()
    generation.refresh_from_db()
    run = run_driver.create(
        Run.Kind.VERIFY,
        subject=f"generation:{generation.pk}",
        label=generation.stem[:300],
        actor=actor,
        person=person,
        environment=generation.environment,
        foreground=foreground,
        total=generation.keys,
    )
    verifiable = Generation.objects.verifiable().filter(pk=generation.pk)
    if verifiable.update(verify_run=run) != 1:
        sentence = _("Only a complete backup can be verified; this one is: %(status)s.")
        raise NotVerifiable(say(sentence, status=Generation.Status(generation.status).label))
    generation.verify_run = run
    return run


start_verification = log.transaction()(create_verification)
"""`create_verification` in a transaction of its own."""


def read_back(lease: Lease) -> Again | None:
    """Do a step of a verification; see `backups.generations.verification`."""
    generation = Generation.objects.select_related("environment", "namespace__environment").get(verify_run=lease.run)
    with bucket_access.errors_for_a_run(), bucket_access.store_of(generation) as store:
        return None if ReadBack(generation, lease, store).step() else Again()


def read_entry(generation: Generation, name: str) -> KvEntry | None:
    """One entry of a backup that is not encrypted; None if the backup lacks it. Memory is bounded by the entry.

    Raises StoreError, and archive.Damaged if the entry differs from KV's answer.
    """
    wanted = generation.entries.filter(name=name, outcome=GenerationEntry.Outcome.KEPT).first()
    if wanted is None:
        return None
    part = generation.parts.get(first_index__lte=wanted.index, last_index__gte=wanted.index)
    with bucket_access.store_of(generation) as store:
        for key in filter(None, (part.object_key, part.api_only_key)):
            entry = next((each for each in archive.read_entries(store.open(key)) if each.name >= name), None)
            if entry is None or entry.name != name:
                continue
            if entry_digest(entry, None) != bytes(wanted.digest or b""):
                raise Damaged(
                    Sentence(
                        gettext_noop("%(key)s holds another value of %(name)s than KV returned."),
                        key=key,
                        name=repr(name),
                    )
                )
            return entry
    raise Damaged(
        Sentence(gettext_noop("The objects of part %(part)s do not hold %(name)s."), part=part.number, name=repr(name))
    )
