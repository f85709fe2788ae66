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
    """Until when R2 refuses to delete an object: not at all, until a moment, or for ever."""

    until: datetime | None = None
    forever: bool = False


def locked_until_by(rules: Iterable[LockRule], key: str, put_at: datetime) -> Locked:
    """Until when these rules lock an object of that name which was put at that time."""
    ends = [_end(rule, put_at) for rule in rules if rule.enabled and key.startswith(rule.prefix)]
    if None in ends:
        return Locked(forever=True)
    return Locked(max((end for end in ends if end is not None), default=None))


def judge(rules: Iterable[LockRule], prefix: str, *, put_at: datetime, least: timedelta) -> str:
    """Whether every object under the prefix that is put at that time stays locked for at least so long.

    `held`; otherwise the best that there is: `short` (not long enough), `narrow` (of a part of the prefix only),
    `disabled`, `missing`.
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
    """The enabled rules that lock more than what is under the prefix: other data of the bucket.

    `shared`: a shorter prefix under which several environments have their copies and nothing else is.
    """
    ours = {prefix, shared} if shared else {prefix}
    return [rule for rule in rules if rule.enabled and prefix.startswith(rule.prefix) and rule.prefix not in ours]


def expiry(rules: Iterable[LifecycleRule], prefix: str) -> int | None:
    """How many seconds after it was put each object under the prefix is deleted by these; None for never by age."""
    ages = [rule.seconds for rule in rules if prefix.startswith(rule.prefix) and rule.seconds is not None]
    return min(ages, default=None)


def meet(one: str, other: str) -> bool:
    """Whether an object can be under both prefixes."""
    return one.startswith(other) or other.startswith(one)


def _end(rule: LockRule, put_at: datetime) -> datetime | None:
    """When the rule lets go of an object; None for never, as far as a calendar goes."""
    if rule.date:
        return datetime.fromisoformat(rule.date)
    if rule.seconds is None:
        return None
    try:
        return put_at + timedelta(seconds=rule.seconds)
    except OverflowError:
        return None
