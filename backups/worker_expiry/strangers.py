"""Calls at the door that nobody signed: counted per rule and hour in this process, so that few are logged and told.

Everybody can reach the door. A counter in the database would let a stranger write there with each call.
"""

import logging
import time
from collections import Counter
from threading import Lock

from backups.models import WorkerRule
from backups.worker_expiry import announcements, late, signing
from kvops import clock

logger = logging.getLogger(__name__)

PER_MINUTE = 600
"""Calls of one rule, signed or not, that are looked at. A Worker makes at most 120."""
LOGGED = 5
"""Refusals of one rule in an hour with a line each in the log."""
MANY = 20
"""Refusals of one rule in an hour that are told though no call of its Worker is expected."""
MINUTE, HOUR = 60, 3_600

_lock = Lock()
_counts: Counter[tuple[str, int]] = Counter()
_periods: dict[tuple[str, int], int] = {}


def are_too_many(rule: WorkerRule) -> bool:
    """Whether the rule had too many calls in this minute, this one counted."""
    return _count("call", rule, MINUTE) > PER_MINUTE


def key_of(rule: WorkerRule) -> str:
    """The key of the rule; empty if this process has none. One that cannot be found is looked for once a minute."""
    with _lock:
        if _periods.get(("keyless", rule.pk)) == _period(MINUTE):
            return ""
    key = signing.key_of(rule.pk)
    if not key:
        _count("keyless", rule, MINUTE)
    return key


def note_refused(rule: WorkerRule, word: str) -> None:
    """Log a refused call, and notify the team: of an unsigned one only if a call is expected, or after many."""
    number = _count(word, rule, HOUR)
    if number > LOGGED and number != MANY:
        return
    logger.warning("A call for %s was refused: %s (%s in this hour)", rule.subject, word, number)
    if word != "unsigned" or number == MANY or late.is_expected(rule, clock.now()):
        announcements.tell_refused_call(rule, word)


def forget() -> None:
    """Begin to count anew."""
    with _lock:
        _counts.clear()
        _periods.clear()


def _count(what: str, rule: WorkerRule, seconds: int) -> int:
    """The number of these in the running period, with this one."""
    period, of = _period(seconds), (what, rule.pk)
    with _lock:
        if _periods.get(of) != period:
            _periods[of], _counts[of] = period, 0
        _counts[of] += 1
        return _counts[of]


def _period(seconds: int) -> int:
    return int(time.monotonic() // seconds)
