"""The effect of a bucket's lock and lifecycle rules on the objects under a prefix. Pure: no Django, nothing is read.

R2 applies a rule to every object whose name begins with the rule's prefix, also to those put before it was made; the
strictest rule counts (developers.cloudflare.com/r2/buckets/bucket-locks). A lock beats a lifecycle rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kvops.cloudflare import LifecycleRule, LockRule

HELD, SHORT, NARROW, DISABLED, MISSING = "held", "short", "narrow", "disabled", "missing"


@dataclass(frozen=True)
class Locked:
    """The end of the lock on an object: none, a moment, or never."""

    until: datetime | None = None
    forever: bool = False


def locked_until_by(rules: Iterable[LockRule], key: str, put_at: datetime) -> Locked:
    """The end of the lock that these rules give to an object of that name and time."""
    ends = [_end(rule, put_at) for rule in rules if rule.enabled and key.startswith(rule.prefix)]
    if None in ends:
        return Locked(forever=True)
    return Locked(max((end for end in ends if end is not None), default=None))


def judge(rules: Iterable[LockRule], prefix: str, *, put_at: datetime, least: timedelta) -> str:
    """Whether every object under the prefix that is put at that time stays locked for at least `least`.

    `held` if so. Otherwise the closest: `short` (not long enough), `narrow` (covers a part of the prefix only),
    `disabled` or `missing`.
    """
    known = list(rules)
    over = [rule for rule in known if prefix.startswith(rule.prefix)]
    if any(rule.enabled for rule in over):
        found = locked_until_by(over, prefix, put_at)
        enough = found.forever or (found.until is not None and found.until - put_at >= least)
        return HELD if enough else SHORT
    if any(rule.enabled and rule.prefix.startswith(prefix) for rule in known):
        return NARROW
    return DISABLED if over else MISSING


def wider(rules: Iterable[LockRule], prefix: str, shared: str = "") -> list[LockRule]:
    """The enabled rules that also lock other data of the bucket, outside the prefix.

    `shared`: a shorter prefix that holds the backups of several environments and nothing else.
    """
    ours = {prefix, shared} if shared else {prefix}
    return [rule for rule in rules if rule.enabled and prefix.startswith(rule.prefix) and rule.prefix not in ours]


def expiry(rules: Iterable[LifecycleRule], prefix: str) -> int | None:
    """Seconds after which these rules delete each object under the prefix; None for never by age."""
    ages = [rule.seconds for rule in rules if prefix.startswith(rule.prefix) and rule.seconds is not None]
    return min(ages, default=None)


def meet(one: str, other: str) -> bool:
    """Whether an object can be under both prefixes."""
    return one.startswith(other) or other.startswith(one)


def _end(rule: LockRule, put_at: datetime) -> datetime | None:
    """The end of the rule's lock on an object; None for never, or beyond the calendar."""
    if rule.date:
        return datetime.fromisoformat(rule.date)
    if rule.seconds is None:
        return None
    try:
        return put_at + timedelta(seconds=rule.seconds)
    except OverflowError:
        return None
