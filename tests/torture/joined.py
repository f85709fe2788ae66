"""Joins the calls that changed KV with the audit log: the intent before each, its settlement after, its lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from django.db import connection

from audit.actions import Action
from audit.models import Entry
from backups.models import CleanupStage, KeyChange, Restore
from kvops import timing
from tests import make
from tests.torture.trial_estate import Asked, EstateTrial

INTENTS = {
    "bulk_delete": [Action.CHUNK_INTENDED],
    "bulk_put": [Action.RESTORE_CHUNK_INTENDED],
    "put_value": [Action.RESTORE_CHUNK_INTENDED, Action.CHANGE_INTENDED],
}
"""The calls that may change KV, each with the entries that announce it; in a trial one is the only one of its chunk."""
SETTLED = {
    Action.CHUNK_INTENDED.value: Action.CHUNK_SETTLED,
    Action.RESTORE_CHUNK_INTENDED.value: Action.RESTORE_CHUNK_SETTLED,
    Action.CHANGE_INTENDED.value: Action.CHANGE_FINISHED,
}
NOTE_LEASES = """
CREATE TABLE torture_lease (run bigint, epoch bigint, at timestamptz);
CREATE FUNCTION torture_note_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO torture_lease VALUES (NEW.id, NEW.epoch, NEW.lease_until - TG_ARGV[0]::interval);
    RETURN NULL;
END $$;
CREATE TRIGGER torture_note_lease AFTER UPDATE OF lease_until ON kvops_run FOR EACH ROW
WHEN (NEW.owner <> '') EXECUTE FUNCTION torture_note_lease('{lease} seconds');
"""


@dataclass(frozen=True)
class Pair:
    """A call, and the entry that announced it, if there is one."""

    call: Asked
    intent: Entry | None


def pairs(trial: EstateTrial) -> list[Pair]:
    """Each call with the newest entry before it that carries the digest of exactly its names, and is no other's."""
    intents = list(Entry.objects.filter(action__in=SETTLED).order_by("-seq"))
    slugs = {namespace: slug for slug, namespace in make.NAMESPACES.items()}
    found: list[Pair] = []
    for call in sorted(trial.asked, key=lambda asked: asked.at):
        actions, slug = INTENTS.get(call.route, []), slugs[call.namespace]
        before = (one for one in intents if one.action in actions and one.at.timestamp() <= call.at)
        mine = next((one for one in before if one.environment == slug and _announces(one, call)), None)
        found.append(Pair(call, mine))
        if mine is not None:
            intents.remove(mine)
    return found


def unmatched(found: Sequence[Pair]) -> int:
    """Calls without an intent before them, or without its settlement after them."""
    return sum(pair.intent is None or not _settled(pair.intent, pair.call.at) for pair in found)


def unsettled() -> int:
    """Intents about any names whose settlement is not in the log."""
    intents = Entry.objects.filter(action__in=SETTLED)
    return sum(not _settled(intent, 0.0) for intent in intents if intent.details.get("names", 1))


def _settled(intent: Entry, since: float) -> bool:
    same = Entry.objects.filter(
        action=SETTLED[intent.action],
        subject=intent.subject,
        seq__gt=intent.seq,
        **({"details__chunk": intent.details["chunk"]} if "chunk" in intent.details else {}),
    )
    return any(entry.at.timestamp() >= since for entry in same)


def _announces(intent: Entry, call: Asked) -> bool:
    """Whether the entry carries the digest of exactly the call's names; that of a change is about its key."""
    if intent.action == Action.CHANGE_INTENDED:
        return [KeyChange.objects.get(pk=intent.subject.partition(":")[2]).name] == list(call.names)
    return intent.digest == _digest(call)


def _digest(call: Asked) -> str:
    """What the entry must carry: the digest of the names, taken from the call as it arrived."""
    names = sorted(name.encode() for name in call.names)
    return sha256(b"".join(len(name).to_bytes(4, "big") + name for name in names)).hexdigest()


# Leases, as the database saw them


def note_leases() -> None:
    """Let the database note when which lease was asked for, from now on."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_LEASES.format(lease=timing.LEASE))


def forget_leases() -> None:
    """Begin anew, as the runs do."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM torture_lease")


def late(found: Sequence[Pair]) -> int:
    """Calls that arrived later than their lease allows, or after another worker had taken the run over."""
    return sum(pair.intent is not None and _late(pair.intent, pair.call.at) for pair in found)


def _late(intent: Entry, at: float) -> bool:
    leases = _leases(_run_of(intent))
    epoch = max((lease for lease in leases if lease[1] <= intent.at.timestamp()), key=lambda lease: lease[1])[0]
    asked_at = max(when for theirs, when in leases if theirs == epoch and when <= at)
    taken_over = any(theirs > epoch and when <= at for theirs, when in leases)
    return taken_over or at > asked_at + timing.TRUST + timing.REQUEST_TIMEOUT


def _leases(run: int) -> list[tuple[int, float]]:
    """Epoch, and when it was asked for or prolonged."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT epoch, extract(epoch FROM at)::float8 FROM torture_lease WHERE run = %s", [run])
        return list(cursor.fetchall())


def _run_of(intent: Entry) -> int:
    kind, _, key = intent.subject.partition(":")
    model = {"stage": CleanupStage, "restore": Restore, "bulkchange": Restore, "keychange": KeyChange}[kind]
    pk: int = model._default_manager.values_list("run", flat=True).get(pk=key)
    return pk
