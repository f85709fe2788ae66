"""Since when a settings value is unchanged, from the keyed digests of backups and from KVOps' own changes.

A digest in Postgres is of the whole entry: value, metadata and expiration. Two backups that have the same digest of a
key prove that none of the three differs. Only digests of the same digest key are compared. The first backup after a new
digest key has those of the older key too, so the age goes on across it. Without them the value may be older than the
first backup with the new key: such an age is *cut*, and never called fresh.

A change of ours is exact to the second. If it changed metadata or expiration alone, the value keeps its age.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import DurationField, Exists, ExpressionWrapper, OuterRef, QuerySet, TextChoices, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.history import deleted_keys
from backups.models import Generation, KeyChange, RestoreEntry
from kvops import clock
from kvops.models import Category, Environment, Family, Key, Namespace
from kvops.web.gather import ask, moment
from kvops.web.objects import Objects

DUE_SOON = timedelta(days=14)


class RotationState(TextChoices):
    """Whether a value is to be rotated, the most urgent first."""

    OVERDUE = "overdue", _("overdue")
    DUE = "due", _("due within 14 days")
    UNKNOWN = "unknown", _("not known: no backup that tells it")
    FRESH = "fresh", _("fresh")
    UNRULED = "unruled", _("no rule")


class Span(NamedTuple):
    """Consecutive backups that have the same digest of a key: the digest, and the times of the first and the last."""

    digest_key: str
    digest: str
    first: datetime
    last: datetime


@dataclass(frozen=True)
class ValueAge:
    """A settings key and the time since which its value is unchanged, as far as KVOps knows.

    Without `changed`, the value was the same in the earliest backup that can be compared, so it may be older. With
    `cut` there are still earlier backups, whose digests are of another key.
    """

    namespace: Namespace
    family: Family
    name: str
    since: datetime | None
    changed: bool
    seen: datetime | None
    now: datetime
    cut: bool = False

    @property
    def environment(self) -> Environment:
        """The environment of the key."""
        return self.namespace.environment

    @property
    def days(self) -> int | None:
        """The age in whole days."""
        return (self.now - self.since).days if self.since else None

    @property
    def due_at(self) -> datetime | None:
        """The time until which the value is to be changed."""
        return self.since + timedelta(days=self.family.rotate_days) if self.since and self.family.rotate_days else None

    @property
    def state(self) -> RotationState:
        """Whether the value is to be rotated."""
        if not self.family.rotate_days:
            return RotationState.UNRULED
        if self.due_at is None:
            return RotationState.UNKNOWN
        if self.due_at <= self.now:
            return RotationState.OVERDUE
        if self.due_at <= self.now + DUE_SOON:
            return RotationState.DUE
        return RotationState.UNKNOWN if self.cut else RotationState.FRESH

    @property
    def look(self) -> str:
        """The name of the state in `templatetags.states.LOOKS`."""
        return f"rotation_{self.state}"


def ages(families: Iterable[Family], environment: Environment | None = None) -> list[ValueAge]:
    """The age of each key that the newest scans know of these families, the most urgent first."""
    by_binding: dict[str, dict[int, Family]] = defaultdict(dict)
    for family in families:
        by_binding[family.binding][family.pk] = family
    namespaces = Namespace.objects.filter(binding__in=by_binding).select_related("environment")
    if environment:
        namespaces = namespaces.filter(environment=environment)
    places = list(namespaces.order_by("environment__order", "binding"))
    chosen = [pk for some in by_binding.values() for pk in some]
    keys = Key.objects.filter(namespace__in=places, family__in=chosen, category=Category.SETTINGS).order_by("name")
    known: dict[int, dict[str, int | None]] = defaultdict(dict)
    for place, name, family_id in keys.values_list("namespace_id", "name", "family_id"):
        known[place][name] = family_id
    now, found = clock.now(), list[ValueAge]()
    for namespace in places:
        if namespace.pk in known:
            found += _ages(namespace, by_binding[namespace.binding], known[namespace.pk], now)
    order = {state: place for place, state in enumerate(RotationState)}
    return sorted(found, key=lambda one: (order[one.state], one.due_at or one.since or one.now, one.name))


def ruled(environment: Environment | None = None) -> list[ValueAge]:
    """The age of each key of a family with `rotate_days`, the most urgent first."""
    return ages(Family.objects.filter(rotate_days__gt=0), environment)


def perhaps_due() -> QuerySet[Family]:
    """The families of which a value may be due: a backup or a change of ours is old enough for the rule.

    No value is older than the oldest backup with digests, or than the change that made its key. So while none of them
    is as old as the rule less 14 days, there is no need to read digests.
    """
    days = ExpressionWrapper(OuterRef("rotate_days") * Value(timedelta(days=1)), output_field=DurationField())
    old = Now() + Value(DUE_SOON) - days
    backups = Generation.objects.filter(namespace__binding=OuterRef("binding"), started_at__lte=old)
    changes = KeyChange.objects.applied().filter(namespace__binding=OuterRef("binding"), settled_at__lte=old)
    digested = backups.exclude(digest_key="")
    return Family.objects.filter(Exists(digested) | Exists(changes), rotate_days__gt=0)


def of_key(namespace: Namespace, family: Family, name: str) -> ValueAge | None:
    """The age of one key; None if the newest scan did not find it in this family of settings."""
    known = Key.objects.filter(namespace=namespace, family=family, category=Category.SETTINGS, name=name)
    return _ages(namespace, {family.pk: family}, {name: family.pk}, clock.now())[0] if known.exists() else None


def _ages(
    namespace: Namespace, families: Mapping[int, Family], family_of: Mapping[str, int | None], now: datetime
) -> list[ValueAge]:
    names = list(family_of)
    spans, (changes, restored) = _spans(namespace, names), _writes(namespace, names)
    found = []
    for one, family in family_of.items():
        since, changed, cut = unchanged_since(spans[one], changes[one], restored[one])
        seen = max((span.last for span in spans[one]), default=None)
        found.append(ValueAge(namespace, families[family or 0], one, since, changed, seen, now, cut))
    return found


class Unchanged(NamedTuple):
    """The time since which a value is unchanged, whether a change was seen then, and whether the age is cut there."""

    since: datetime | None
    changed: bool
    cut: bool = False


def unchanged_since(spans: Sequence[Span], changes: Sequence[KeyChange], restored: Sequence[datetime]) -> Unchanged:
    """The time since which a value is unchanged. `spans` are newest first."""
    kept = {(one.digest_key, one.digest_after, one.digest_before) for one in changes if "value" not in one.parts}
    chain, changed = _chain(spans, kept)
    since = chain[-1].first if chain else None
    # What the newest backup does not hold any more was overwritten before it.
    newest = spans[0].last if spans else None
    digests = {(span.digest_key, span.digest) for span in chain}
    written = [one for one in changes if "value" in one.parts or one.new_key]
    moments = [one.settled_at for one in written if _holds(one, newest, digests) and one.settled_at]
    moments += [at for at in restored if newest is None or at > newest]
    if moments:
        return Unchanged(max(moments), changed=True)
    return Unchanged(since, changed, not changed and any(since is None or span.first < since for span in spans))


def _chain(spans: Sequence[Span], kept: Collection[tuple[str, str, str]]) -> tuple[Sequence[Span], bool]:
    """The spans with one value, newest first, and whether the span before them has another value."""
    chain = list(spans[:1])
    while chain:
        oldest, keys = chain[-1], {span.digest_key for span in chain}
        before = next((one for one in spans if one.digest_key == oldest.digest_key and one.last < oldest.first), None)
        if before is not None and (before.digest_key, oldest.digest, before.digest) not in kept:
            return chain, True
        # The first backup after a new digest key is in a span of each key.
        shared = (one for one in spans if one.digest_key not in keys and one.first <= oldest.first <= one.last)
        before = before or next(shared, None)
        if before is None:
            break
        chain.append(before)
    return chain, False


def _holds(change: KeyChange, newest: datetime | None, digests: set[tuple[str, str]]) -> bool:
    """Whether a change of ours is newer than the newest backup, or wrote the very entry that the backups hold."""
    newer = newest is None or (change.settled_at is not None and change.settled_at > newest)
    return newer or (change.digest_key, change.digest_after) in digests


# A backup that is being written has no time yet; one of master data holds rows of D1. What a later verification finds
# wrong with objects of the bucket does not touch the digests, which are of KV's own answer.
_READ = """
    SELECT e.name, g.{key} AS digest_key, e.{digest} AS digest, g.started_at, g.id, {older} AS older
    FROM backups_generation g JOIN backups_generationentry e ON e.generation_id = g.id
    WHERE g.namespace_id = %(namespace)s AND g.{key} <> '' AND g.status <> 'writing' AND g.purpose <> 'masters'
      AND e.outcome = 'kept' AND e.name = ANY(%(names)s)"""
_SPANS = f"""
SELECT name, digest_key, encode(digest, 'hex'), min(started_at), max(started_at) FROM (
  SELECT *, count(*) FILTER (WHERE other) OVER (PARTITION BY name, digest_key ORDER BY started_at, id) AS span FROM (
    SELECT *, digest IS DISTINCT FROM
      lag(digest) OVER (PARTITION BY name, digest_key ORDER BY started_at, id) AS other
    FROM (
      {_READ.format(key="digest_key", digest="digest", older="false")}
      UNION ALL
      {_READ.format(key="older_digest_key", digest="older_digest", older="true")} AND e.older_digest IS NOT NULL
    ) AS read
  ) AS compared
) AS spans GROUP BY name, digest_key, digest, span ORDER BY name, max(started_at) DESC, bool_or(older)
"""  # noqa: S608  (constants of this module)


def _spans(namespace: Namespace, names: list[str]) -> Mapping[str, list[Span]]:
    """For each key, the spans of equal digests in the encrypted backups, newest first."""
    found: dict[str, list[Span]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_SPANS, {"namespace": namespace.pk, "names": names})
        for name, *span in cursor.fetchall():
            found[name].append(Span(*span))
    return found


type _Writes = tuple[Mapping[str, list[KeyChange]], Mapping[str, list[datetime]]]
"""For each key, our changes of it, and the times at which a restore wrote it."""

_CHANGE = ("name", "parts", "new_key", "settled_at", "digest_key", "digest_before", "digest_after")


def _writes(namespace: Namespace, names: list[str]) -> _Writes:
    made = Objects(KeyChange.objects.applied().filter(namespace=namespace, name__in=names).order_by("pk"), *_CHANGE)
    entries = deleted_keys.restores(namespace, names).filter(outcome=RestoreEntry.Outcome.WRITTEN)
    written = Objects(entries, "name", "at")
    answers = ask({"changes": made.question, "written": written.question}, {})
    changes: dict[str, list[KeyChange]] = defaultdict(list)
    for change in made.of(answers, "changes"):
        changes[change.name].append(change)
    restored: dict[str, list[datetime]] = defaultdict(list)
    for entry in written.of(answers, "written"):
        if at := moment(vars(entry)["at"]):
            restored[entry.name].append(at)
    return changes, restored
