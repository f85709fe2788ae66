"""Retention: which backups may be deleted, when, and the reasons to keep them.

A pure function of backups, rules, pins and a moment; the page, the simulator, the notices and the deletion all ask
it. It goes by age on the database's clock, never by count. The 14 days of the policy (3.1) count from the *finish* of
a backup, because only then do all its objects lie in the bucket. A backup can be deleted from the day that the
longest rule of its families allows.

Three things keep a backup at any age. It has a hold (`holds`), no newer verified backup covers everything it was made
of, or none of its families has a rule. The lock of the bucket keeps it too, as last read: no date before its end
is possible. So the newest verified backup of a family stays. A backup of given names
replaces none that was listed; a partial or damaged one replaces nothing, nor does one whose objects are missing. A
backup of nothing but caches is kept 14 to 30 days (policy 3.3) and needs no newer one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from backups.bucket.lock_rules import Locked
from backups.models import Generation
from kvops import timing
from kvops.wording import say

Purpose = Generation.Purpose
AT_LEAST = timedelta(days=timing.RETENTION_DAYS)


class State(TextChoices):
    """The retention state of a backup."""

    DUE = "due", _("can be deleted")
    WAITING = "waiting", _("kept until its date")
    HELD = "held", _("held")
    NEWEST = "newest", _("kept: nothing replaces it")
    NO_RULE = "no_rule", _("kept: without a rule")
    WRITING = "writing", _("being written")
    INVESTIGATION = "investigation", _("kept for an investigation")

    @property
    def goes(self) -> bool:
        """Whether the backup's date decides, because nothing else keeps it."""
        return self in {State.DUE, State.WAITING}


@dataclass(frozen=True)
class Rule:
    """A family and the days for which its backups are kept."""

    family: int
    binding: str
    pattern: str
    exact: bool
    days: int

    def __str__(self) -> str:
        return self.pattern if self.exact else f"{self.pattern}*"

    def reaches(self, binding: str, prefixes: Collection[str], patterns: Collection[str]) -> bool:
        """Whether a backup of the binding may hold keys of the family; `patterns` only if its names were given."""
        if self.binding != binding:
            return False
        return str(self) in patterns if patterns else any(map(self._reaches, prefixes))

    def _reaches(self, prefix: str) -> bool:
        return self.pattern.startswith(prefix) or (not self.exact and prefix.startswith(self.pattern))


@dataclass(frozen=True)
class BackupFacts:
    """The facts about a backup that retention needs; `patterns` only if its names were given, not listed."""

    pk: int
    namespace: int
    binding: str
    prefixes: tuple[str, ...]
    patterns: tuple[str, ...]
    purpose: str
    verified: bool
    finished_at: datetime | None
    retain_until: datetime
    elsewhere: bool = False
    cache: bool = False
    locked: Locked = field(default_factory=Locked)
    """The end of R2's lock, if it is known."""

    @property
    def may_from(self) -> datetime | None:
        """The earliest moment of a deletion; None while the backup is in writing."""
        return max(self.retain_until.astimezone(UTC), self.after(AT_LEAST)) if self.finished_at else None

    @property
    def lock_ends(self) -> list[datetime]:
        """The end of R2's lock, before which R2 refuses a deletion; empty if no end is known."""
        return [self.locked.until.astimezone(UTC)] if self.locked.until else []

    @property
    def is_listed(self) -> bool:
        """Whether the backup holds what a listing of KV found, so that no backup of given names replaces it."""
        return self.purpose == Purpose.ROUTINE

    def after(self, span: timedelta) -> datetime:
        """The moment `span` after the backup was finished, in UTC, so that each day has 24 hours."""
        if self.finished_at is None:
            raise ValueError(self)
        return self.finished_at.astimezone(UTC) + span

    def of(self, rule: Rule) -> bool:
        """Whether the backup may hold keys of the family."""
        return rule.reaches(self.binding, self.prefixes, self.patterns)


@dataclass(frozen=True)
class Hold:
    """A reason to keep a backup, in words, with the address of its page."""

    text: str
    url: str = ""


@dataclass(frozen=True)
class RetentionVerdict:
    """The decision about a backup: `may_from` and `due_at` are dates, `reasons` the reasons behind it."""

    backup: BackupFacts
    state: State
    may_from: datetime | None
    due_at: datetime | None
    rules: tuple[Rule, ...]
    holds: tuple[Hold, ...] = ()
    newer: tuple[int, ...] = ()

    def goes_by(self, moment: datetime) -> bool:
        """Whether the backup can be deleted at that moment, or before it, if nothing else comes to keep it."""
        return bool(self.state.goes and self.due_at and self.due_at <= moment)

    @property
    def reasons(self) -> list[Hold]:
        """The reasons to keep the backup, or to delete it."""
        if self.state == State.HELD:
            return list(self.holds)
        if self.state == State.DUE and self.due_at == self.backup.locked.until:
            return [Hold(say(_("A lock of the bucket kept the backup until this date.")))]
        if self.state.goes and self.due_at == self.backup.locked.until:
            return [Hold(say(_("A lock of the bucket keeps the backup until this date.")))]
        if self.state.goes:
            longest = max(self.rules, key=lambda rule: rule.days)
            sentence = _("Backups of %(family)s are kept for %(days)s days.")
            return [Hold(say(sentence, family=longest, days=longest.days))]
        if self.state == State.NEWEST and self.backup.is_listed:
            return [Hold(say(_NOT_LISTED_AGAIN))]
        return [Hold(say(_REASONS[self.state]))]


_REASONS = {
    State.WRITING: _("The backup is still being written."),
    State.NO_RULE: _("No family of the policy covers it, so no rule sets its deletion date."),
    State.INVESTIGATION: _("The backup is deleted when its investigation is closed, at its end at the latest."),
    State.NEWEST: _("No newer verified backup holds everything in it."),
}
_NOT_LISTED_AGAIN = _(
    "No newer verified backup lists its whole prefix again. A backup of a fixed list of names, such as that of a "
    "clean-up, replaces none that was listed."
)


class Successors:
    """The newest verified backups by their contents: the candidates to replace another backup."""

    def __init__(self, verified: Iterable[BackupFacts]) -> None:
        self._listed: dict[tuple[int, str, str], int] = {}
        self._given: dict[tuple[int, str, str], int] = {}
        for backup in verified:
            for prefix in backup.prefixes:
                if backup.purpose in {Purpose.ROUTINE, Purpose.MASTERS}:
                    self._keep(self._listed, (backup.namespace, prefix, backup.purpose), backup.pk)
                elif backup.purpose == Purpose.CLEANUP:
                    for pattern in backup.patterns:
                        self._keep(self._given, (backup.namespace, prefix, pattern), backup.pk)

    @staticmethod
    def _keep[K](newest: dict[K, int], key: K, pk: int) -> None:
        newest[key] = max(pk, newest.get(key, 0))

    def of(self, backup: BackupFacts) -> tuple[int, ...]:
        """The newer verified backups that together hold all the contents of the backup; empty if there are none.

        A backup of given names replaces only such backups of the same families. A backup of D1 rows replaces no backup
        of KV.
        """
        found = {self._newest(backup, prefix) for prefix in backup.prefixes}
        return tuple(sorted(found)) if found and min(found) > backup.pk else ()

    def _newest(self, backup: BackupFacts, prefix: str) -> int:
        shorter = [prefix[:length] for length in range(len(prefix) + 1)]
        listed = Purpose.MASTERS if backup.purpose == Purpose.MASTERS else Purpose.ROUTINE
        whole = max(self._listed.get((backup.namespace, start, listed), 0) for start in shorter)
        given = [
            max(self._given.get((backup.namespace, start, pattern), 0) for start in shorter)
            for pattern in backup.patterns
        ]
        return max(whole, min(given, default=0))


def decide(
    backups: Iterable[BackupFacts],
    rules: Collection[Rule],
    successors: Successors,
    holds: Mapping[int, Sequence[Hold]],
    now: datetime,
) -> list[RetentionVerdict]:
    """The decision about each backup, in their order."""
    return [_decide(backup, rules, successors, tuple(holds.get(backup.pk, ())), now) for backup in backups]


def _decide(
    backup: BackupFacts, rules: Collection[Rule], successors: Successors, holds: tuple[Hold, ...], now: datetime
) -> RetentionVerdict:
    mine = tuple(rule for rule in rules if backup.of(rule))
    newer, may_from = successors.of(backup), backup.may_from
    due_at = None
    if backup.finished_at and may_from and mine:
        due_at = max(may_from, backup.after(timedelta(days=max(rule.days for rule in mine))), *backup.lock_ends)
    if backup.elsewhere:
        holds = (*holds, Hold(say(_("The backup is in a bucket that the environment no longer uses."))))
    if backup.locked.forever:
        holds = (*holds, Hold(say(_("A lock of the bucket keeps the backup for ever."))))
    if may_from is None:
        state = State.WRITING
    elif backup.purpose == Purpose.INVESTIGATION:
        # An investigation's end decides alone, without the policy's dates and without a newer backup.
        ends_at = max([backup.retain_until.astimezone(UTC), *backup.lock_ends])
        return RetentionVerdict(backup, State.INVESTIGATION, None, ends_at, mine)
    elif due_at is None:
        state = State.NO_RULE
    elif holds:
        state = State.HELD
    elif not newer and not backup.cache:
        state = State.NEWEST
    else:
        state = State.DUE if due_at <= now.astimezone(UTC) else State.WAITING
    return RetentionVerdict(backup, state, may_from, due_at, mine, holds, newer)
