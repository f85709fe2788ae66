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
"""The factor of the waits below; 1 in production."""
_TEST = SCALE < 1 and env.flag("KVOPS_TESTING")
"""Whether the limits of a slow machine are scaled too. The sandbox has a machine that may be busy; a test has none."""

# Work (design: runs). A request lasts no longer than REQUEST_TIMEOUT, however slowly its answer arrives. A worker
# begins a changing request only within TRUST of asking for its lease. If the request is not over by TRUST +
# REQUEST_TIMEOUT, the kernel ends the worker: a third of a request before the lease ends. Another worker takes over one
# whole request after the end of the lease. A scaled loopback request on a busy machine still takes its time, hence the
# floors.
REQUEST_TIMEOUT = max(60.0 * SCALE, min(5.0, 500.0 * SCALE) if _TEST or SCALE == 1 else 30.0)
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
CANARY_LATE = max(35.0 * SCALE, 15.0) if _TEST else 35.0
"""Seconds after which a process that was not seen is named, on the pages and by `/healthz/work`."""
COMING_UP = max(180.0 * SCALE, 15.0) if _TEST else 180.0
"""Seconds that a cluster may take to its first executed task. Each start without one doubles it."""
LONGEST_COMING_UP = 5 * COMING_UP
HANGS = max(80.0 * SCALE, 15.0) if _TEST else 80.0
"""Seconds. A cluster that was up and then executes nothing for so long is replaced, in two minutes at most."""
TAKEN_AWAY = 900.0
"""Seconds after which a worker that was not seen is forgotten, if another one works."""
OUTAGE = CANARY_LATE + 25.0 * SCALE
"""Seconds. If the worker is away for longer, the sweep mails operators and reviewers."""
OUTAGE_RETRY = max(60.0 * SCALE, 1.0)
"""Seconds until the sweep tries again to send that mail, if no mail server took it."""
WAITING_TOLD = 900.0 * SCALE
"""Seconds. A run that waits for a service without progress for longer is told."""
OUTSIDE_HEARTBEAT = max(60.0 * SCALE, 1.0)
"""Seconds between two calls of KVOPS_HEARTBEAT_URL."""

# Cloudflare. KV may return a stale read for 60 seconds after a write
# (developers.cloudflare.com/kv/concepts/how-kv-works).
SETTLE = 60.0 * SCALE
LIST_LAG = 300.0 * SCALE
STALE = 300.0 * SCALE * SCALE
"""Seconds. KV is assumed to return no stale read after this time. Scaled twice, because every clean-up waits for it."""
LATE_CHECK = 24 * 3600.0 * SCALE * SCALE
"""Seconds after a deletion until its keys are looked for again. Scaled twice, so that a test reaches it."""
READ_FRESH = 5.0
"""Seconds. A delete must be sent within this time after the oldest read of its keys; otherwise they are read again."""
BUDGET_WINDOW = 300.0
BUDGET_DELAY = 1.0
"""Seconds. A request may arrive this much later than it was taken, and still no window holds more than the limit."""
BUDGET_CALLS = 960
LONGEST_WAIT = 5.0

LOOK = 300.0
"""Seconds between comparisons of a bucket's newest manifest with the audit log. A result is relied on for as long."""

SKEW = 60.0
"""Seconds. With a larger skew between the clocks of the database and a service, nothing is deleted or restored."""

# People.
DECIDE_WITHIN = 72 * 3600.0
USE_WITHIN = 24 * 3600.0
QA_EVIDENCE = 7 * 86400.0
VERIFIED_FRESH = 24 * 3600.0
SCAN_FRESH = 24 * 3600.0
RECOVERY = 24 * 3600.0
"""Seconds until a recovered reviewer's role takes effect. A trigger has the same limit."""
INVITED = 3 * 86400
"""Seconds for which a link to choose a password is good."""
REAUTHENTICATE = 300
REVEALED = 60
"""Seconds. After this time the page that reveals a masked value leaves it. Not scaled, because a person reads it."""
SENT_TWICE = 30
"""Seconds. The same press of the same person within this time is one press. Not scaled: a person presses."""
SIGNIN_COUNTED = 300
"""Seconds for which a failed sign-in counts against its account."""
TRIES_COUNTED = 3600
"""Seconds for which a value that a person proposed counts against guessing what a masked key holds."""
SIGNIN_DELAY = 5.0 * SCALE
"""Seconds. The longest delay of a sign-in's answer; it holds a thread of the web server as long."""
REJECTED_SHOWN = 7 * 86400.0
"""Seconds for which a rejected request waits for its requester on the overview, unless a newer one follows it."""
UNDO_WITHIN = 72 * 3600.0
"""Seconds after the end of a deletion in which its own approval covers the undo. A trigger has the same limit."""

# Messages. A mail server answers several times, each within MESSAGE_TIMEOUT; the queue ends a task after 300 s.
MESSAGE_TIMEOUT = max(20.0 * SCALE, 1.0)
MESSAGE_CLAIM = max(600.0 * SCALE, 6.0)
"""Seconds. A worker that takes longer to send a message is taken for dead, and its attempt's outcome is unknown."""
MESSAGE_RETRY = 30.0 * SCALE
MESSAGE_LONGEST_RETRY = 300.0 * SCALE
"""Seconds. What waits leaves at most this long after the mail server or Slack is back."""
MESSAGE_HELD = 900.0 * SCALE
"""Seconds that a message waits at most for the other runs of one due time of a schedule."""
MESSAGE_LATE = 900.0
OUTBOX_LATE = MESSAGE_LATE + 60.0
"""Seconds. An older message that waits means that nobody empties the outbox: a message may be held for 15 minutes."""
MESSAGE_FOR = 24 * 3600.0
"""Seconds. A message is retried for this long; then a person must look at it."""
DECIDE_SOON = 24 * 3600.0
USE_SOON = 6 * 3600.0
"""Seconds. A request counts as about to expire this long before its time is over."""
WATCHED = 120.0
"""Seconds. The starter of a shorter run is still watching; the end of a longer run is announced by mail."""

# Schedules.
FIRED_LATE = 900.0
"""Seconds. A start this long after its due time was missed: it is caught up and announced."""

# Code references.
REFERENCES_FRESH = 7 * 86400.0
"""Seconds. An older search of the code is not relied on. A trigger has the same limit."""
DEPLOYED_KNOWN = 2 * 3600.0
"""Seconds. An older look at the deployed code is not relied on, so work asks again. A trigger has the same limit."""
DEPLOYED_FRESH = 60.0
"""Seconds. Work that rests on the deployed code has Cloudflare asked again if the newest look is older."""

VAULT_LATE = 26 * 3600.0
"""Seconds after the end of a settings backup until it must be in 1Password: a day, and two hours for the work."""

# Keys.
EXPIRING_SOON = 7 * 86400

# Backups.
RETENTION_DAYS = 14
CACHE_RETENTION_DAYS = 30
"""Days. A backup of a cache is kept no longer, because it may hold data that the cache should have dropped."""
PROTECTION_CHECK = 1800.0
"""Seconds between two reads of a bucket's protection. A change is seen within the hour, even if one read fails."""
PROTECTION_KNOWN = 3600.0
"""Seconds. An older answer about a bucket's protection is not relied on."""
CHECK_PAUSE = 900.0
"""Seconds. After a longer pause reads of D1 are stale: an integrity check starts over, and a deletion checks again."""
