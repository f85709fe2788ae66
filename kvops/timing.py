"""Every duration of the product, in seconds. Tests and the sandbox scale them; nothing else may.

`KVOPS_TIME_SCALE` (0 < scale <= 1) shortens waits for tests and the sandbox. Anywhere else a scale below 1 is refused
at start, so no installation runs below these floors.
"""

from kvops import env


def _scale() -> float:
    scale = env.number("KVOPS_TIME_SCALE", 1.0)
    if not 0 < scale <= 1:
        raise env.SettingError("KVOPS_TIME_SCALE takes a number above 0, at most 1.")
    if scale < 1 and not (env.flag("KVOPS_SANDBOX") or env.flag("KVOPS_TESTING")):
        raise env.SettingError("KVOPS_TIME_SCALE below 1 is for the sandbox and the tests only; remove it.")
    return scale


SCALE = _scale()
"""How much shorter the waits below are than in production."""

# Work (design: runs). A request lasts no longer than REQUEST_TIMEOUT, however slowly its answer arrives. A worker
# begins one that changes something only within TRUST of the moment it asked for its lease, and is ended by the kernel
# when it is not back by TRUST + REQUEST_TIMEOUT: a third of a request before the lease ends. Another worker takes over
# one whole request after that. Scaled, a loopback request on a busy machine still takes its time: hence the floors.
REQUEST_TIMEOUT = max(60.0 * SCALE, min(5.0, 500.0 * SCALE))
LEASE = 3 * REQUEST_TIMEOUT
TRUST = LEASE - 4 / 3 * REQUEST_TIMEOUT
KEEP = 2.0
STEP = max(30.0 * SCALE, 1.0)
PART = 200.0
RETRY = max(15.0 * SCALE, 0.2)
LONGEST_RETRY = max(300.0 * SCALE, 1.0)
SWEEP = max(5.0 * SCALE, 0.5)
STALE_WAKE_UP_TASK = 60.0 * SCALE
CANARY = 20.0 * SCALE
CANARY_LATE = 35.0 if SCALE == 1 else max(35.0 * SCALE, 15.0)
"""With the longest pause between canaries and between looks, a cluster that hangs is noticed within a minute."""

# Cloudflare. KV may answer with an old state for 60 seconds after a write
# (developers.cloudflare.com/kv/concepts/how-kv-works).
SETTLE = 60.0 * SCALE
LIST_LAG = 300.0 * SCALE
STALE = 300.0 * SCALE * SCALE
"""The longest that KV is taken to answer with an old state. Scaled twice: every clean-up waits for it."""
LATE_CHECK = 24 * 3600.0 * SCALE * SCALE
"""When deleted keys are looked for once more. Scaled twice, so that a test sees it."""
READ_FRESH = 5.0
"""A delete is sent at most so long after the oldest read of what it deletes; otherwise it is read again."""
BUDGET_WINDOW = 300.0
BUDGET_DELAY = 1.0
"""How much later than it was taken a request may arrive, and still no window holds more than the limit."""
BUDGET_CALLS = 960
LONGEST_WAIT = 5.0

LOOK = 300.0
"""How often the newest manifest in each bucket is held against the record, and how long a process relies on it."""

SKEW = 60.0
"""The clocks of the database and of a service may be so far apart; beyond it nothing is deleted or put back."""

# People.
DECIDE_WITHIN = 72 * 3600.0
USE_WITHIN = 24 * 3600.0
QA_EVIDENCE = 7 * 86400.0
VERIFIED_FRESH = 24 * 3600.0
SCAN_FRESH = 24 * 3600.0
REAUTHENTICATE = 300
UNDO_WITHIN = 72 * 3600.0
"""After a deletion ended: how long its own approval covers putting its keys back. A trigger says the same."""

# Messages. A mail server answers several times, each within MESSAGE_TIMEOUT; the queue ends a task after 300 s.
MESSAGE_TIMEOUT = max(20.0 * SCALE, 1.0)
MESSAGE_CLAIM = max(600.0 * SCALE, 6.0)
"""Whoever has been sending a message for so long is gone, and nobody knows whether it was taken."""
MESSAGE_RETRY = 30.0 * SCALE
MESSAGE_LONGEST_RETRY = 900.0 * SCALE
MESSAGE_LATE = 900.0
MESSAGE_FOR = 24 * 3600.0
"""How long a message is tried before a person must have a look."""
DECIDE_SOON = 24 * 3600.0
USE_SOON = 6 * 3600.0
"""How long before its time is over a request is about to expire."""
WATCHED = 120.0
"""Who starts a run that is shorter is still looking; a longer one is mailed when it ends well."""

# Schedules.
FIRED_LATE = 900.0
"""What starts so long after it was due was missed and is caught up, and people are told."""

DRILL_LATE = 35 * 86400.0
"""After a drill that passed: how long restores count as rehearsed."""

# Keys.
EXPIRING_SOON = 7 * 86400

# Copies.
RETENTION_DAYS = 14
CACHE_RETENTION_DAYS = 30
"""A copy of a cache is kept no longer: it may hold what the cache should have forgotten."""
PROTECTION_CHECK = 1800.0
"""How often Cloudflare is asked how each bucket is guarded: a drift is seen within the hour, also if one look fails."""
PROTECTION_KNOWN = 3600.0
"""An answer that is older says nothing any more."""
CHECK_PAUSE = 900.0
"""An integrity check that lay still for longer starts over, and a deletion checks again: what was read of D1 is old."""
