"""The run of a round: KVOps changes nothing. It waits for the Worker's reports, and says how the round ended."""

from datetime import timedelta

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from backups.models import WorkerRound
from backups.worker_expiry import announcements
from kvops import clock, timing
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped
from kvops.wording import moment, say, sentence_of

LOOK_EVERY = 60.0
"""Seconds. A report wakes the run at once; in between it looks whether the Worker fell silent."""


def follow_round(lease: Lease) -> Again | Done:
    """One look at a round. Raises RunError if it failed, and Stopped at an emergency stop."""
    mine = WorkerRound.objects.select_related("rule__namespace__environment", "rule__family").get(run=lease.run)
    try:
        return _look(mine)
    except (RunError, Stopped) as why:
        with log.transaction():
            announcements.tell_stopped(mine.rule, sentence_of(why), f"round {mine.pk} epoch {lease.epoch}")
        raise


def _look(mine: WorkerRound) -> Again | Done:
    if mine.reason:
        raise RunError("round_failed", mine.problem)
    if mine.ended:
        counts = {"listed_keys": mine.listed, "given_expirations": mine.given}
        return Done({**counts, "skipped_keys": mine.skipped, "uncertain_keys": mine.failed})
    emergency.insist_none(mine.rule.namespace.environment)
    if clock.now() - mine.heard_at > timedelta(seconds=timing.WORKER_SILENT):
        sentence = _("The Worker was last heard at %(time)s, so the round is lost. It may have written keys since.")
        raise RunError("silent", say(sentence, time=moment(mine.heard_at)))
    return Again(LOOK_EVERY, gettext_noop("Waiting for the reports of the Worker."))
