"""Emergency stop: one click, and nothing destructive is started or sent in an environment (design: runs).

A stop is a row per environment. Pressing it and committing a chunk's intent both lock the environment's row, so an
intent comes either before the stop, and is sent, or never; a trigger refuses it besides. Sent names are still settled
by reading, also if the stop is pressed while the next chunk is read; then the run ends as *stopped*. Releasing takes
two people (`approvals.emergency_release`).
"""

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops import queue
from kvops.models import EmergencyStop, Environment, Person, Run
from kvops.refusals import Refused
from kvops.runs.outcomes import Stopped
from kvops.wording import say, storable

CODE = "emergency_stop"
"""The error code of a run that an emergency stop ended. After the release, a person can resume it."""


class StopRefused(Refused):
    """The stop cannot be pressed this way; the message gives the reason."""


def stop_in_force(environment: Environment) -> EmergencyStop | None:
    """The stop in force in an environment; None if there is none."""
    return EmergencyStop.objects.in_force().select_related("by").filter(environment=environment).first()


def why_stopped(environment: Environment | None) -> str:
    """One sentence that says who stopped the environment and why; empty if it is not stopped."""
    stop = stop_in_force(environment) if environment else None
    if stop is None or environment is None:
        return ""
    return say(
        _("%(environment)s is stopped: %(name)s pressed the emergency stop. Two people release it. %(reason)s"),
        environment=environment.name,
        name=stop.by.name,
        reason=stop.reason,
    )


def insist_none(environment: Environment) -> None:
    """Raise runs.lease.Stopped, which ends the current run until it is resumed, if the environment is stopped."""
    if sentence := why_stopped(environment):
        raise Stopped(CODE, sentence)


def hold(environment: Environment) -> None:
    """As `insist_none`, and no stop begins before the open transaction ends. Call it to commit an intent."""
    log.insist()
    lock(environment)
    insist_none(environment)


def press(environment: Environment, *, by: Person, reason: str = "") -> EmergencyStop:
    """Stop the environment, and wake its destructive runs so that they notice. Raises StopRefused."""
    with log.transaction():
        if not by.roles():
            raise StopRefused(_("Only an operator, a reviewer or an auditor can stop an environment."))
        lock(environment)
        if stop_in_force(environment):
            raise StopRefused(_("The emergency stop is on already."))
        stop = EmergencyStop.objects.create(environment=environment, by=by, reason=storable(reason).strip()[:500])
        log.record(
            Action.EMERGENCY_STOPPED,
            actor=log.Actor(by.pk, str(by)),
            environment=environment.slug,
            subject=f"stop:{stop.pk}",
            subject_label=str(environment),
            details={"reason": stop.reason},
        )
    _wake(environment)
    return stop


def _wake(environment: Environment) -> None:
    """Queue tasks for idle runs, in a transaction of its own: a worker that holds a run waits for the stop's lock."""
    with log.transaction():
        resting = Run.objects.open().filter(environment=environment, approval__isnull=False, owner="")
        for pk in resting.values_list("pk", flat=True):
            if Run.objects.open().filter(pk=pk, owner="").update(wake_at=None):
                queue.enqueue("kvops.tasks.step", pk)


def lock(environment: Environment) -> None:
    """Lock the environment's row until the open transaction ends, against a stop. Rows may still refer to it."""
    Environment.objects.select_for_update(no_key=True).only("pk").get(pk=environment.pk)
