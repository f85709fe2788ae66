"""A part of a prefix, chosen by what one listing can show: no expiration, or a member of the metadata.

The same function judges a key of the inventory, a listed key and an entry read from KV, so a deletion can look once
more, right before it, whether the key is still one of the chosen. A member is compared as text: `2`, `true` or the
text of a string. A time is seconds or milliseconds since 1970, from 2001 on, or ISO 8601 with hyphens. Without a zone
it is UTC.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Self

from django.utils.translation import gettext_lazy as _

from kvops.refusals import Refused
from kvops.wording import say

HOUR = 3_600
MILLISECONDS = 100_000_000_000
"""A greater number is milliseconds since 1970, not seconds: as seconds it would lie after the year 5000."""
EARLIEST = 1_000_000_000
"""A smaller number, such as a version or a counter, is no time: as seconds it would lie before September 2001."""
LONGEST_HOURS = 24 * 3_650


class SelectionRefused(Refused):
    """The selection contradicts itself; the message gives the reason."""


@dataclass(frozen=True)
class Selection:
    """The conditions, all of which a key must meet. Without a condition, all keys are chosen.

    `member` is a member of the metadata. It equals the text `equals`, or is a time older than `older_hours`.
    """

    without_expiration: bool = False
    member: str = ""
    equals: str = ""
    older_hours: int = 0

    @classmethod
    def of(cls, data: Mapping[str, object]) -> Self:
        """The selection of a JSON column. Raises TypeError for a condition that this version does not know."""
        return cls(**data)  # type: ignore[arg-type]

    def insist_clear(self) -> None:
        """Raise SelectionRefused unless a member has exactly one condition, and no condition lacks its member."""
        if self.member and bool(self.equals) == bool(self.older_hours):
            raise SelectionRefused(_("Say what the member of the metadata equals, or how old its time is; not both."))
        if not self.member and (self.equals or self.older_hours):
            raise SelectionRefused(_("Name the member of the metadata."))
        if not 0 <= self.older_hours <= LONGEST_HOURS:
            raise SelectionRefused(say(_("An age is 1 to %(hours)s hours."), hours=LONGEST_HOURS))

    def as_data(self) -> dict[str, object]:
        """The conditions for a JSON column and for evidence; empty without any."""
        return {name: value for name, value in asdict(self).items() if value}

    def takes(self, expiration: int | None, metadata: str | None, now: float) -> bool:
        """Whether a key with this expiration and this metadata text is chosen; `now` is in seconds since 1970."""
        if self.without_expiration and expiration is not None:
            return False
        if not self.member:
            return True
        value = _member(metadata, self.member)
        if value is None:
            return False
        if self.equals:
            return (value if isinstance(value, str) else json.dumps(value)) == self.equals
        at = _time(value)
        return at is not None and at <= now - self.older_hours * HOUR

    @property
    def words(self) -> Sequence[str]:
        """The conditions, as sentences in the reader's language."""
        return list(self._words())

    def _words(self) -> Iterable[str]:
        if self.without_expiration:
            yield say(_("only keys without an expiration"))
        if self.equals:
            sentence = _("only keys whose metadata has “%(member)s” equal to “%(value)s”")
            yield say(sentence, member=self.member, value=self.equals)
        if self.older_hours:
            sentence = _("only keys whose metadata has a time “%(member)s” that is older than %(hours)s hours")
            if self.older_hours == 1:
                sentence = _("only keys whose metadata has a time “%(member)s” that is older than %(hours)s hour")
            yield say(sentence, member=self.member, hours=self.older_hours)


EVERYTHING = Selection()


def _member(metadata: str | None, member: str) -> object:
    """The member of a JSON object; None if there is none, or if it is null."""
    if metadata is None:
        return None
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError):
        return None  # the API returns only JSON, so such text was not stored by a scan
    return found.get(member) if isinstance(found, dict) else None


def _time(value: object) -> float | None:
    """The moment in seconds since 1970; None if the value is no time."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            seconds = value / 1_000 if value > MILLISECONDS else float(value)
            return seconds if seconds >= EARLIEST else None
        if not isinstance(value, str) or "-" not in value:
            return None
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
