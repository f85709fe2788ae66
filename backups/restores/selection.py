"""The keys of a restore, fixed as rows: all of a backup, a prefix, a pasted list, or one key from its page.

Names of a list that the backup does not hold are shown before anything is fixed. Nothing is written to KV here.
"""

from django.db import connection
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import archive
from backups.models import Generation, GenerationEntry, Restore
from backups.restores import cross_environment
from backups.restores.moves import RestoreRefused, insist_operator, locked, move, record_restore
from kvops.models import Namespace, Person, Run
from kvops.names import after_prefix, storable
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.wording import say

State = Restore.State
OnConflict = Restore.OnConflict


def prepare_restore(
    generation: Generation,
    *,
    namespace: Namespace | None = None,
    prefix: str = "",
    names: list[str] | None = None,
    on_conflict: Restore.OnConflict = OnConflict.SKIP,
    actor: log.Actor,
    person: Person | None = None,
    foreground: bool = False,
) -> Restore:
    """Freeze the names of a restore and start to compare them with KV; nothing is written.

    The names are all keys of the backup, those under a prefix, or those in a list. The target is the backup's
    namespace, or another one of the same binding if it is given. Raises RestoreRefused.
    """
    into = namespace or generation.namespace
    _insist_storable(prefix, names or [])
    with log.transaction():
        insist_source(generation, into)
        restore = Restore.objects.create(
            generation=generation,
            environment=into.environment,
            namespace=into,
            prefix=prefix if names is None else "",
            listed=names is not None,
            on_conflict=on_conflict,
            prepared_by=actor.text,
            person=person,
        )
        freeze_restore(restore, names)
        cross_environment.insist_all(restore)
        _start_preview(restore, actor=actor, person=person, foreground=foreground)
        chosen = [restore.prefix] if restore.prefix else generation.prefixes
        begun = procedures.begun("restore", into.binding, chosen)
        record_restore(Action.RESTORE_PREPARED, restore, actor=actor, details={"names": restore.names, **begun})
    return restore


def _insist_storable(prefix: str, names: list[str]) -> None:
    """Refuse names that Postgres cannot hold: they are in no backup."""
    if prefix and not storable(prefix):
        raise RestoreRefused(_("A prefix contains NUL or is not valid UTF-8."))
    if count := sum(not storable(name) for name in names):
        sentence = _(
            "Names that no backup can hold, because they are empty, contain NUL or are not valid UTF-8: %(count)s."
        )
        raise RestoreRefused(say(sentence, count=count))


def insist_source(generation: Generation, into: Namespace) -> None:
    """Raise RestoreRefused unless the backup is verified and may be restored into this namespace."""
    if not Generation.objects.verified().filter(pk=generation.pk).exists():
        status = Generation.Status(generation.status).label
        raise RestoreRefused(say(_("Only a verified backup can be restored; this one is: %(status)s."), status=status))
    if not generation.is_here:
        raise RestoreRefused(_("The backup is in a bucket that the environment no longer uses."))
    if generation.purpose == Generation.Purpose.MASTERS:
        raise RestoreRefused(
            _("This backup holds rows of D1, not keys of KV. Its recovery steps say how to restore them into D1.")
        )
    if into.binding != generation.namespace.binding:
        raise RestoreRefused(
            say(
                _("A backup of %(binding)s can only be restored into %(binding)s, here or in another environment."),
                binding=generation.namespace.binding,
            )
        )
    cross_environment.insist_some(generation, into.environment)


def freeze_restore(restore: Restore, names: list[str] | None = None) -> None:
    """Store the names to restore, in the order of the backup. Raises RestoreRefused if there are none."""
    beyond = after_prefix(restore.prefix)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO backups_restoreentry (restore_id, index, name, size, found, outcome, compared)"
            " SELECT %s, row_number() OVER (ORDER BY index) - 1, name, coalesce(size, 0), '', 'planned', ''"
            " FROM backups_generationentry WHERE generation_id = %s AND outcome = 'kept'"
            " AND name >= %s AND (%s::text IS NULL OR name < %s) AND (%s::text[] IS NULL OR name = ANY(%s))",
            [restore.pk, restore.generation_id, restore.prefix, beyond, beyond, names, names],
        )
    if names is not None and (unknown := not_in_backup(restore.generation, names)):
        sentence = _("Names that are not in the backup: %(count)s. The first is %(name)s.")
        raise RestoreRefused(say(sentence, count=len(unknown), name=unknown[0]))
    seal(restore)


def seal(restore: Restore) -> None:
    """Store the number and the digest of the frozen names. Raises RestoreRefused if there are none."""
    entries = restore.entries.order_by("index").values_list("name", flat=True)
    restore.names = entries.count()
    if not restore.names:
        raise RestoreRefused(_("The backup does not contain this key."))
    restore.names_sha256 = archive.names_sha256(entries.iterator(10_000))
    Restore.objects.filter(pk=restore.pk).update(names=restore.names, names_sha256=restore.names_sha256)


def not_in_backup(generation: Generation, names: list[str]) -> list[str]:
    """The names that the backup lacks, in their order."""
    kept = generation.entries.filter(outcome=GenerationEntry.Outcome.KEPT, name__in=names)
    known = set(kept.values_list("name", flat=True))
    return [name for name in names if name not in known]


def _start_preview(restore: Restore, *, actor: log.Actor, person: Person | None, foreground: bool) -> None:
    run = run_driver.create(
        Run.Kind.PREVIEW,
        subject=f"restore:{restore.pk}",
        label=str(restore)[:300],
        actor=actor,
        person=person,
        environment=restore.environment,
        foreground=foreground,
        total=restore.names,
    )
    Restore.objects.filter(pk=restore.pk, state=State.PREPARING).update(preview_run=run)
    restore.preview_run = run


def compare_again(restore: Restore, *, by: Person) -> None:
    """Prepared -> preparing, because KV may have changed since the comparison. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(restore)
        move(mine, [State.PREPARED], State.PREPARING, Action.RESTORE_PREPARED, actor=by.actor)
        _start_preview(mine, actor=by.actor, person=by, foreground=False)
