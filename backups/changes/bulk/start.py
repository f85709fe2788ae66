"""The keys of a bulk change are chosen from the newest scan, and exactly these are backed up. Nothing is written to KV.

The backup and its verification are runs. When the backup is verified, a hook fixes the names that it holds, and the
change can be submitted. A failed step leaves the change where it was; its run can be tried again.
"""

from dataclasses import dataclass

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups import archive
from backups.generations import start as generation_start
from backups.generations.start import ChosenKeys
from backups.models import BulkChange, Generation, Restore
from backups.models.bulk_changes import LONGEST, MOST, SHORTEST
from backups.restores.moves import BULK_CHANGES, RestoreRefused, record_restore
from backups.restores.selection import freeze_restore
from kvops import clock
from kvops.inventory import browse, expiry as key_expiry, families as key_families
from kvops.models import Category, Family, Key, Namespace, Person, Run
from kvops.runbook import procedures, secrets
from kvops.wording import Words, columns, say

Operation = Restore.Operation
Scope = BulkChange.Scope
State = Restore.State
NO_CACHE = {
    Category.SETTINGS: _("Settings are changed one by one, on the page of the key. Only caches are changed in bulk."),
    Category.LEGACY: _("Legacy keys are cleaned up, not changed. Only caches are changed in bulk."),
    Category.UNCLASSIFIED: _(
        "These keys belong to no family. Register the family first; only caches are changed in bulk."
    ),
}


@dataclass(frozen=True)
class BulkWish:
    """What each key gets: an expiration `lifetime` seconds after the start or at `until`, or a mark with this value."""

    operation: Restore.Operation
    lifetime: int | None = None
    until: int | None = None
    value: str = ""


def cache_family(namespace: Namespace, prefix: str) -> Family:
    """The cache family of the keys under a prefix. Raises RestoreRefused for keys of another category."""
    family = key_families.family_of(namespace.binding, prefix)
    if family is None or family.category != Category.CACHE:
        raise RestoreRefused(NO_CACHE[Category(family.category) if family else Category.UNCLASSIFIED])
    return family


def chosen_keys(namespace: Namespace, family: Family, prefix: str, scope: BulkChange.Scope) -> QuerySet[Key]:
    """The keys of the family under the prefix that the scope takes, as of the inventory."""
    keys = namespace.key_set.under(prefix).filter(family=family)
    if scope == Scope.ALL:
        return keys
    keys = keys.filter(expiration__isnull=True)
    if scope == Scope.NEVER:
        return keys
    return keys.filter(key_expiry.unmarked(family)) if family.is_to_expire else keys.none()


def begin(namespace: Namespace, prefix: str, scope: BulkChange.Scope, wish: BulkWish, *, by: Person) -> Restore:
    """Fix the list of keys and start the backup of exactly these. Raises RestoreRefused, BackupRefused, AlreadyOpen."""
    BULK_CHANGES.insist_operator(by)
    family = cache_family(namespace, prefix)
    insist_writable(wish.lifetime, wish.until)
    member = _member(family, wish)
    with log.transaction():
        # The merge of a scan takes the same lock, so all names are from one scan.
        Namespace.objects.select_for_update(no_key=True).get(pk=namespace.pk)
        scan = browse.covering_scan(namespace, prefix)
        if scan is None or not browse.is_fresh(scan):
            sentence = _("%(namespace)s was not scanned within a day. Scan it first.")
            raise RestoreRefused(say(sentence, namespace=namespace))
        keys = chosen_keys(namespace, family, prefix, scope)
        count = keys.count()
        if not 1 <= count <= MOST:
            sentence = _("A bulk change is of 1 to %(most)s keys. These are %(count)s: choose another prefix.")
            raise RestoreRefused(say(sentence, most=f"{MOST:,}", count=f"{count:,}"))
        generation = generation_start.create_backup(
            namespace,
            prefixes=[prefix],
            purpose=Generation.Purpose.CHANGE,
            chosen=ChosenKeys(family, keys),
            actor=by.actor,
            person=by,
            exact=family.exact,
        )
        restore = Restore.objects.create(
            generation=generation,
            environment=namespace.environment,
            namespace=namespace,
            prefix=prefix,
            on_conflict=Restore.OnConflict.OVERWRITE,
            operation=wish.operation,
            prepared_by=by.actor.text,
            person=by,
        )
        names = generation.entries.order_by("index").values_list("name", flat=True)
        bulk = BulkChange.objects.create(
            restore=restore,
            operation=wish.operation,
            family=family,
            scope=scope,
            chosen_names=count,
            chosen_sha256=archive.names_sha256(names.iterator(10_000)),
            lifetime=wish.lifetime,
            until=wish.until,
            member=member,
            value=wish.value.strip() if member else "",
        )
        begun = procedures.begun("bulk_change", namespace.binding, [prefix])
        details = {"names": count, "operation": bulk.operation, "scan": scan.pk, **begun}
        record_restore(Action.BULK_PREPARED, restore, actor=by.actor, digest=bulk.chosen_sha256, details=details)
    return restore


def insist_writable(lifetime: int | None, until: int | None) -> None:
    """Raise RestoreRefused unless the expiration is at least an hour and at most a year ahead."""
    seconds = lifetime if until is None else until - int(clock.now().timestamp())
    if seconds is not None and not SHORTEST <= seconds <= LONGEST:
        raise RestoreRefused(
            _(
                "An expiration is at least one hour and at most 366 days ahead. Within an hour, the writes could not "
                "be read back before the keys expire."
            )
        )


def _member(family: Family, wish: BulkWish) -> str:
    """The member of the metadata that the mark sets; empty for an expiration. Raises RestoreRefused."""
    if wish.operation == Operation.EXPIRATION:
        return ""
    if not family.mark:
        sentence = _(
            "%(family)s names no mark. Its expiry design must be “regenerate:” with the member of the metadata that "
            "the application reads. Change the policy first."
        )
        raise RestoreRefused(say(sentence, family=family))
    if not wish.value.strip():
        raise RestoreRefused(_("Give the value of the mark."))
    secrets.insist_no_secret(wish.value)
    return family.mark


def backup_finished(run: Run) -> None:
    """Hook: a partial backup is no ground for a change; the page of the change says so."""
    restore = _preparing(generation__run=run)
    if restore is not None and restore.generation.status == Generation.Status.PARTIAL:
        sentence = gettext_noop("Some keys are gone already. Give this up, scan again, and choose the keys again.")
        _note(restore, sentence)


def verify_finished(run: Run) -> None:
    """Hook: the verified backup fixes the names, and the change can be submitted."""
    restore = _preparing(generation__verify_run=run)
    if restore is None:
        return
    generation = restore.generation
    if generation.status != Generation.Status.VERIFIED:
        _note(restore, say(_("The backup is damaged: %(problem)s"), problem=generation.why))
        return
    if not generation.keys:
        _note(restore, gettext_noop("Every key has expired meanwhile. Give this up: nothing is left to change."))
        return
    freeze_restore(restore)
    BULK_CHANGES.move(
        restore,
        [State.PREPARING],
        State.PREPARED,
        Action.BULK_BACKED_UP,
        actor=log.Actor(run.started_by_id, run.actor),
        values={
            "compared_at": Now(),
            "overwritten": restore.names,
            "overwritten_sha256": restore.names_sha256,
            **columns("returned_because", ""),
        },
        details={"names": restore.names, "backup": generation.pk},
    )


def _preparing(**of: object) -> Restore | None:
    """The bulk change whose backup this is, while it is being prepared."""
    found = Restore.objects.filter(**of, state=State.PREPARING).exclude(operation=Operation.RESTORE)
    return found.select_related(*BULK_CHANGES.related).first()


def _note(restore: Restore, why: str | Promise | Words) -> None:
    Restore.objects.filter(pk=restore.pk, state=State.PREPARING).update(**columns("returned_because", why))
