"""One key of settings compared with the last backup, on demand: a run in the worker, because it needs the digest key.

The run reads the entry from KV, digests it with the key of the backup, and compares digests. The result is kept and
recorded, never a value or a digest.
"""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import archive
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import Generation, GenerationEntry, SettingComparison
from backups.outside_changes import own_operations
from backups.outside_changes.explained import ABSENT, Between, KeyContent, explained
from backups.outside_changes.search import content_of
from kvops import clock, timing
from kvops.cloudflare import KvEntry, NameRefused
from kvops.connections import clients
from kvops.inventory import value as key_value
from kvops.models import Namespace, Person, Role, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError

Result = SettingComparison.Result


class SettingComparisonRefused(Refused):
    """The key cannot be compared with a backup; the message gives the reason."""


def last_backup(namespace: Namespace, name: str) -> Generation | None:
    """The newest verified encrypted routine backup whose prefixes cover the key, also if it lacks the key."""
    return next((one for one in _backups(namespace) if _covers(one, name)), None)


def _backups(namespace: Namespace) -> QuerySet[Generation]:
    found = Generation.objects.verified().filter(namespace=namespace, purpose=Generation.Purpose.ROUTINE)
    newest = found.exclude(recipients=[]).newest_of_each().values("pk")
    return Generation.objects.filter(pk__in=newest).order_by("-started_at", "-pk")


def _covers(generation: Generation, name: str) -> bool:
    if generation.exact:
        return name in generation.prefixes
    return any(name.startswith(prefix) for prefix in generation.prefixes)


def compare_setting(namespace: Namespace, name: str, *, by: Person) -> SettingComparison:
    """Start the comparison of a key with the last backup. Raises SettingComparisonRefused and AlreadyOpen."""
    with log.transaction():
        if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
            raise SettingComparisonRefused(_("Only an operator or a reviewer can do this."))
        if not key_value.category_of(namespace, name).sensitive:
            raise SettingComparisonRefused(_("Only settings and unclassified keys are compared this way."))
        backup = last_backup(namespace, name)
        if backup is None:
            raise SettingComparisonRefused(_("No verified encrypted backup covers this key. Make one first."))
        run = run_driver.create(
            Run.Kind.COMPARE_SETTING,
            subject=f"namespace:{namespace.pk}/{sha256(name.encode()).hexdigest()[:16]}",
            label=f"{namespace} {name}",
            actor=by.actor,
            person=by,
            environment=namespace.environment,
            total=1,
        )
        made = SettingComparison.objects.create(namespace=namespace, name=name, generation=backup, run=run, asked_by=by)
        _record(Action.SETTING_COMPARISON_STARTED, made, by.actor, {})
    return made


def compare_one(lease: Lease) -> None:
    """Read the key, compare it by its keyed digest, and keep the result."""
    related = ("namespace__environment", "generation")
    made = SettingComparison.objects.select_related(*related).get(run=lease.run)
    live, at = _live(made), clock.now()
    kept = made.generation.entries.filter(name=made.name, outcome=GenerationEntry.Outcome.KEPT).first()
    result = _result(made.generation, kept, live)
    ours = result != Result.NOWHERE and _explained(made, kept, live)
    if result == Result.SAME:
        result, ours = Result.SAME if ours else Result.PUT_BACK, False
    with lease.checkpoint(Done({"generation": made.generation_id, "status": result.value}), done=1, note=""):
        mine = SettingComparison.objects.filter(pk=made.pk, finished_at=None)
        mine.update(result=result, explained=ours, finished_at=Now())
        _record(
            Action.SETTING_COMPARED,
            made,
            lease.actor,
            {"result": result.value, "explained": ours, "at": at.isoformat()},
        )


def _live(made: SettingComparison) -> KvEntry | None:
    with clients.reader(made.namespace.environment) as client:
        try:
            return client.exact_get(made.namespace.namespace_id, made.name)
        except NameRefused as refused:
            raise RunError("unreadable", refused) from refused


def _result(generation: Generation, kept: GenerationEntry | None, live: KvEntry | None) -> SettingComparison.Result:
    if kept is None:
        return Result.NOWHERE if live is None else Result.NOT_IN_BACKUP
    if live is None:
        return Result.GONE
    same = entry_digest(live, encryption.digest_key(generation)) == bytes(kept.digest or b"")
    return Result.SAME if same else Result.DIFFERENT


def _explained(made: SettingComparison, kept: GenerationEntry | None, live: KvEntry | None) -> bool:
    """Whether KVOps' own operations since the backup may have left what KV has now."""
    backup, now, stale = made.generation, clock.now(), timedelta(seconds=timing.STALE)
    own = own_operations.of_names(made.namespace, [made.name], backup.started_at - stale, now)
    newer = ABSENT
    if live is not None:
        key = encryption.digest_key(backup)
        digests = {backup.digest_key: entry_digest(live, key).hex()}
        # A change since a rotation was digested with the newest key.
        newest = encryption.newest_digest_key()
        digests[archive.key_id(newest)] = entry_digest(live, newest).hex()
        newer = KeyContent(digests, live.expiration)
    earlier = content_of(backup, kept) if kept else ABSENT
    between = Between(backup.finished_at or backup.started_at, now - stale, now)
    return explained(earlier, own.get(made.name, ()), newer, between)


@dataclass(frozen=True)
class ComparedKey:
    """The newest comparison of a key, and whether a backup covers the key, so that it can be compared."""

    newest: SettingComparison | None
    backed_up: bool


def compared(namespace: Namespace, name: str) -> ComparedKey:
    """The comparison of a key as its page shows it."""
    found = SettingComparison.objects.filter(namespace=namespace, name=name)
    newest = found.select_related("run", "asked_by", "generation").order_by("pk").last()
    return ComparedKey(newest, last_backup(namespace, name) is not None)


def _record(action: Action, made: SettingComparison, actor: log.Actor, details: dict[str, JSON]) -> None:
    log.record(
        action,
        actor=actor,
        **made.namespace.audited,
        details={"key": made.name, "generation": made.generation_id, "comparison": made.pk, **details},
    )
