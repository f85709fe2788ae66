"""The history of backups, for auditors: taken, verified, restored, pinned, deleted.

Everything is read from the audit log and from the generations, by keyset, within a period. Entries about a backup, or
about a restore of one, are found by the index of their action, newest first; each names its backup in its subject. So
a page costs the same however long the log is. The counts of the timeline are ranges of an index, one for each day and
action; for one family, environment or person they are read from the entries of the period.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Exists, F, Max, Min, OuterRef, Q, Subquery, Value
from django.db.models.functions import Cast, Concat, TruncDate
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from audit.models import Entry
from backups.models import Generation, Investigation, PruneRequest
from backups.models.generations import GenerationQuerySet
from kvops.models import ApprovalRequest, Environment, Family
from kvops.wording import spoken, stored

CHUNK = 1_000


class TimelineLane(models.TextChoices):
    """A kind of event of a backup: one line of the timeline each."""

    TAKEN = "taken", _("taken")
    VERIFIED = "verified", _("verified")
    RESTORED = "restored", _("restored")
    PINNED = "pinned", _("pinned")
    DELETED = "deleted", _("deleted")


LANES: Mapping[TimelineLane, Sequence[Action]] = {
    TimelineLane.TAKEN: [Action.GENERATION_COMPLETED, Action.GENERATION_PARTIAL],
    TimelineLane.VERIFIED: [Action.GENERATION_VERIFIED, Action.GENERATION_DAMAGED],
    TimelineLane.RESTORED: [Action.RESTORE_STARTED, Action.RESTORE_FINISHED],
    TimelineLane.PINNED: [Action.GENERATION_PINNED, Action.GENERATION_UNPINNED],
    TimelineLane.DELETED: [Action.GENERATION_DELETING, Action.GENERATION_DELETED],
}
BEGINNINGS = {Action.RESTORE_STARTED.value, Action.GENERATION_DELETING.value}
"""Events shown on the timeline but not counted: the event that ends them is."""

DELETED = [Action.GENERATION_DELETED.value]


@dataclass(frozen=True)
class Scope:
    """The backups, period and actor of the history.

    Days are in the team's zone, both included; `actor` is a part of a name.
    """

    since: date
    until: date
    family: Family | None = None
    environment: Environment | None = None
    lane: TimelineLane | None = None
    actor: str = ""

    @property
    def start(self) -> datetime:
        """The first moment of the period."""
        return _midnight(self.since)

    @property
    def end(self) -> datetime:
        """The first moment after the period."""
        return _midnight(self.until + timedelta(days=1))

    @cached_property
    def sequence(self) -> tuple[int, int]:
        """The number of the first entry in the period, and of the first entry after it."""
        by_time = Entry.objects.order_by("at", "seq").values_list("at", "seq")
        first, after = by_time.filter(at__gte=self.start)[:1], by_time.filter(at__gte=self.end)[:1]
        found, beyond = list(first.union(after).order_by("at", "seq")), 2**62
        return (
            next((seq for _at, seq in found), beyond),
            next((seq for at, seq in found if at >= self.end), beyond),
        )

    @property
    def actions(self) -> list[str]:
        """The shown actions by their names in the audit log."""
        lanes = [self.lane] if self.lane else list(LANES)
        return [action.value for lane in lanes for action in LANES[lane]]

    def generations(self) -> GenerationQuerySet:
        """All backups of the family and the environment, of any time."""
        found = Generation.objects.all()
        if self.environment:
            found = found.filter(environment=self.environment)
        if self.family:
            found = found.filter(namespace__binding=self.family.binding).filter(_of_family(self.family))
        return found

    def there(self) -> GenerationQuerySet:
        """Those of them that may have existed in the period: a backup deleted before has no event in it."""
        return self.generations().filter(Q(deleted_at=None) | Q(deleted_at__gt=self.start - timedelta(days=1)))


@dataclass(frozen=True)
class BackupEvent:
    """An entry of the audit log about a backup, with the approval and the prune request that the entry names."""

    entry: Entry
    generation: Generation
    approval: ApprovalRequest | None = None
    prune: PruneRequest | None = None
    investigation: Investigation | None = None

    @property
    def lane(self) -> TimelineLane:
        """The event's line on the timeline."""
        return next(lane for lane, actions in LANES.items() if self.entry.action in actions)

    @property
    def why(self) -> str:
        """The reason or problem in the entry; for a deletion, the reason in its request."""
        details = self.entry.details
        behind = self.prune.reason if self.prune else self.investigation.why if self.investigation else ""
        return str(details.get("reason") or details.get("problem") or behind)

    @property
    def shown_why(self) -> str:
        """The same on a page: the problem of a backup in the reader's language."""
        details = self.entry.details
        if details.get("reason") or not details.get("problem"):
            return self.why
        return spoken(stored(self.why, self.generation.problem_sentence))


@dataclass(frozen=True)
class DayCount:
    """The number of events of one line in one day."""

    day: date
    lane: TimelineLane
    events: int


@dataclass(frozen=True)
class Point:
    """The last backup of a day in one environment."""

    day: date
    generation: Generation


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _of_family(family: Family) -> Q:
    """Backups that may hold keys of the family: by the families found in them, or by their prefixes."""
    starts = [family.pattern[:end] for end in range(len(family.pattern) + 1)]
    return Q(patterns__contains=[str(family)]) | Q(prefixes__has_any_keys=starts)


# The backup of an entry: the entry's subject, or the source of the restore that is its subject.
_GENERATION = """CASE WHEN e.subject LIKE 'restore:%%'
    THEN (SELECT r.generation_id FROM backups_restore AS r WHERE r.id = split_part(e.subject, ':', 2)::bigint)
    ELSE split_part(e.subject, ':', 2)::bigint END"""

# Each action's index is read backwards until there are enough. The lookup per backup keeps the planner from a join.
_NEWEST = f"""
SELECT event.seq, event.generation FROM unnest(%s::text[]) AS wanted (action) CROSS JOIN LATERAL (
    SELECT e.seq, {_GENERATION} AS generation FROM audit_entry AS e
    WHERE e.action = wanted.action AND e.seq >= %s AND e.seq < %s AND strpos(lower(e.actor), lower(%s)) > 0
      AND (SELECT true FROM ({{of}}) AS found WHERE found.id = {_GENERATION})
    ORDER BY e.seq DESC LIMIT %s
) AS event ORDER BY event.seq DESC LIMIT %s
"""  # noqa: S608  (of our own pieces)

_COUNTS = f"""
SELECT (e.at AT TIME ZONE %s)::date, e.action, count(*) FROM audit_entry AS e
WHERE e.action = ANY(%s) AND e.seq >= %s AND e.seq < %s AND strpos(lower(e.actor), lower(%s)) > 0
  AND (%s OR {_GENERATION} IN ({{of}})) GROUP BY 1, 2
"""  # noqa: S608  (of our own pieces)

# Each day and action is a range of the index of actions, so no entry is read: the number of the day's first entry is
# looked up by time. Days before and after the log are left out.
_COUNTS_OF_ALL = """
WITH period AS (
  SELECT greatest(%s::date, timezone(%s, (SELECT min(at) FROM audit_entry))::date) AS since,
         least(%s::date, timezone(%s, (SELECT max(at) FROM audit_entry))::date) AS until
),
days AS (
  SELECT day::date, (SELECT seq FROM audit_entry WHERE at >= timezone(%s, day) ORDER BY at, seq LIMIT 1) AS first
    FROM period, generate_series(since::timestamp, until::timestamp + interval '1 day', interval '1 day') AS day
),
spans AS (SELECT day, first, lead(first) OVER (ORDER BY day) AS beyond FROM days)
SELECT day, wanted.action, found.entries
  FROM period, spans CROSS JOIN unnest(%s::text[]) AS wanted (action) CROSS JOIN LATERAL (
    SELECT count(*) AS entries FROM audit_entry AS e
     WHERE e.action = wanted.action AND e.seq >= spans.first AND e.seq < coalesce(spans.beyond, 9223372036854775807)
  ) AS found
 WHERE day <= until AND found.entries > 0
"""


def events(scope: Scope, *, before: int | None = None, limit: int) -> list[BackupEvent]:
    """The newest events of the scope; if an entry's number is given, those before it."""
    first, beyond = scope.sequence
    of, of_params = _ids(scope.generations())
    params = [scope.actions, first, min(before or beyond, beyond), scope.actor, *of_params, limit, limit]
    rows = _fetch(_NEWEST.format(of=of), params)
    entries = Entry.objects.in_bulk([seq for seq, _ in rows])
    related = Generation.objects.select_related("environment", "namespace")
    generations = related.in_bulk({pk for _, pk in rows})
    return _told([(entries[seq], generations[pk]) for seq, pk in rows])


def _told(found: Sequence[tuple[Entry, Generation]]) -> list[BackupEvent]:
    """The entries with the approval and the prune request that they name."""
    approvals = ApprovalRequest.objects.select_related("approver", "requester").in_bulk(_named(found, "approval"))
    prunes = PruneRequest.objects.in_bulk(_named(found, "prune"))
    investigations = Investigation.objects.in_bulk(_named(found, "investigation"))
    return [
        BackupEvent(
            entry,
            backup,
            approvals.get(entry.details.get("approval")),
            prunes.get(entry.details.get("prune")),
            investigations.get(entry.details.get("investigation")),
        )
        for entry, backup in found
    ]


def _named(found: Sequence[tuple[Entry, Generation]], kind: str) -> set[int]:
    return {number for entry, _ in found if isinstance(number := entry.details.get(kind), int)}


def all_events(scope: Scope) -> Iterator[BackupEvent]:
    """Every event of the scope, newest first, read in pages."""
    before = None
    while page := events(scope, before=before, limit=CHUNK):
        yield from page
        before = page[-1].entry.seq


def counts_by_day(scope: Scope) -> list[DayCount]:
    """The number of events by day and line, oldest first."""
    zone = timezone.get_current_timezone_name()
    effects = [action for action in scope.actions if action not in BEGINNINGS]
    everything = not (scope.family or scope.environment)
    if everything and not scope.actor:
        sql, params = _COUNTS_OF_ALL, [scope.since, zone, scope.until, zone, zone, effects]
    else:
        of, of_params = _ids(scope.there())
        sql, params = _COUNTS.format(of=of), [zone, effects, *scope.sequence, scope.actor, everything, *of_params]
    found: dict[tuple[date, TimelineLane], int] = {}
    lane_of = {action.value: lane for lane, actions in LANES.items() for action in actions}
    for at, action, number in _fetch(sql, params):
        key = (at, lane_of[action])
        found[key] = found.get(key, 0) + number
    return [DayCount(at, lane, number) for (at, lane), number in sorted(found.items())]


def trend(scope: Scope) -> list[Point]:
    """The last complete backup of each day and environment in the period, oldest first."""
    found = scope.generations().whole().filter(started_at__gte=scope.start, started_at__lt=scope.end)
    by_day = found.annotate(day=TruncDate("started_at")).values("environment_id", "day")
    newest = by_day.annotate(newest=Max("pk")).values("newest")
    rows = Generation.objects.filter(pk__in=newest).select_related("environment").order_by("started_at")
    return [Point(timezone.localdate(row.started_at), row) for row in rows]


@dataclass(frozen=True)
class Existence:
    """A backup that existed during a period, with its verifications and its deletion."""

    generation: Generation
    verified: Sequence[Entry]
    deletion: BackupEvent | None

    @property
    def until(self) -> datetime | None:
        """The time of its deletion; None if it still exists."""
        return self.deletion.entry.at if self.deletion else None


def existed(scope: Scope, *, after: int = 0, limit: int) -> list[Existence]:
    """The scope's backups that existed during its period and come after the number `after`, oldest first."""
    subject = Concat(Value("generation:"), Cast(OuterRef("pk"), models.CharField()))
    gone = Entry.objects.filter(subject=subject, action__in=DELETED, at__lt=scope.start)
    # The log decides. Its entries are looked up only for backups that were deleted about then, or never.
    there = scope.there()
    first = there.order_by().values(of_all=Value(1)).annotate(first=Min(F("pk") + 0)).values("first")
    found = there.filter(pk__gte=Subquery(first), pk__gt=after, started_at__lt=scope.end).exclude(Exists(gone))
    related = found.select_related("environment", "namespace").order_by("pk")[:limit]
    backups = {f"generation:{backup.pk}": backup for backup in related}
    told = Entry.objects.about([*backups]).telling([*DELETED, Action.GENERATION_VERIFIED]).order_by("seq")
    about = [(entry, backups[entry.subject]) for entry in told]
    deletions = _told([each for each in about if each[0].action in DELETED])
    deleted = {event.generation.pk: event for event in deletions}
    verified: dict[str, list[Entry]] = {subject: [] for subject in backups}
    for entry, _backup in about:
        if entry.action == Action.GENERATION_VERIFIED:
            verified[entry.subject].append(entry)
    return [Existence(backup, verified[subject], deleted.get(backup.pk)) for subject, backup in backups.items()]


def _ids(found: GenerationQuerySet) -> tuple[str, tuple[Any, ...]]:
    """The statement for the numbers of the backups, and its parameters."""
    return found.values("id").query.sql_with_params()


def _fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
