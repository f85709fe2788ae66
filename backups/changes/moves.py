"""The moves of a change, and the conditions of every move. A change that is over loses its proposal (`erase`)."""

from collections.abc import Mapping

from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.execution.lifecycle import Lifecycle
from backups.models import KeyChange
from kvops.models import ApprovalRequest, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.wording import Words, columns, say

State = KeyChange.State


class ChangeRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


def _send_back(change: KeyChange, actor: log.Actor, because: Words) -> None:
    """End a change whose request was rejected, withdrawn or expired, with the reason on its page."""
    end(change, [State.SUBMITTED, State.APPROVED], because=because, actor=actor)


def _moved(change: KeyChange) -> str:
    sentence = _("This is not possible any more: the change is %(state)s.")
    return say(sentence, state=label(KeyChange.objects.get(pk=change.pk)))


CHANGES = Lifecycle(
    model=KeyChange,
    name="keychange",
    related=("environment", "namespace", "generation__environment", "generation__namespace"),
    kind=ApprovalRequest.Kind.PUT_KEY,
    run_kind=Run.Kind.CHANGE,
    running=State.WRITING,
    submitted=Action.CHANGE_SUBMITTED,
    approved=Action.CHANGE_APPROVED,
    started=Action.CHANGE_STARTED,
    label=lambda change: str(change)[:600],
    digest_of=lambda change, given: given or change.object_sha256,
    send_back=_send_back,
    refused=ChangeRefused,
    moved=_moved,
    not_approved=_("The change is not approved: %(state)s."),
    not_stopped=_("Only a change that was stopped or failed can be ended early. Stop it first."),
    resumed=_("The change has already resumed. Load the page again."),
)
locked, move, insist_operator = CHANGES.locked, CHANGES.move, CHANGES.insist_operator
record_change = CHANGES.record


def end(change: KeyChange, expected: list[str], *, because: Words, actor: log.Actor) -> None:
    """End a change that was not written, within the caller's transaction, and start to erase its proposal."""
    ended = columns("ended_because", because)
    values, details = {**ended, "finished_at": Now()}, {"why": ended["ended_because"][:500]}
    move(change, expected, State.ENDED, Action.CHANGE_ENDED, actor=actor, values=values, details=details)
    erase_soon(change, actor=actor)


def finish(change: KeyChange, outcome: KeyChange.Outcome, *, actor: log.Actor, details: Mapping[str, JSON]) -> None:
    """End a change whose run has read the key back, within the caller's transaction."""
    values = {"outcome": outcome, "finished_at": Now(), "settled_at": Now()}
    found = {"outcome": outcome.value, **details}
    move(change, [State.WRITING], State.DONE, Action.CHANGE_FINISHED, actor=actor, values=values, details=found)
    erase_soon(change, actor=actor)


def erase_soon(change: KeyChange, *, actor: log.Actor) -> None:
    """Create the run that erases the proposal, within the caller's transaction; none if nothing was proposed."""
    if not change.object_key:
        return
    run = run_driver.create(
        Run.Kind.ERASE_PROPOSAL,
        subject=change.subject,
        label=change.object_key[:300],
        actor=actor,
        environment=change.environment,
        total=1,
    )
    KeyChange.objects.filter(pk=change.pk).update(erase_run=run)


def label(change: KeyChange) -> str | Promise:
    """The state of the change in words."""
    return State(change.state).label
