"""The one action that an operator takes next with a stage, or the reason why it must wait."""

from dataclasses import dataclass, replace

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.cleanup import after_check, completion, evidence as cleanup_evidence, qa
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.stages import backup_is_fresh, run_of, why_not_now
from backups.models import CleanupStage, Generation
from kvops import timing
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.runs import emergency
from kvops.wording import spelled

State = CleanupStage.State

OPERATORS_TURN = (
    State.WAITING,
    State.FROZEN,
    State.BACKED_UP,
    State.VERIFIED,
    State.CHECKED,
    State.APPROVED,
    State.DELETING,
    State.DELETED,
    State.CONFIRMED,
)
"""The states in which an operator has the next action, unless a run works."""

OUTDATED = "stale"
"""The code of a deletion whose approval no longer fits what is so now, as after a newer search."""
IN_VAIN = {OUTDATED, "wrong_set"}
"""The codes of a deletion that is never tried again: its approval, its keys or its turn are over."""

ENDING = "#end"
"""The form that ends a clean-up, on its page."""


@dataclass(frozen=True)
class NextAction:
    """A button: its target address (of a page, if `link`), and the reason if it is disabled.

    `because` says why this is the way on, where that is not obvious.
    """

    label: str
    url_name: str
    pk: int
    disabled_reason: str = ""
    danger: bool = False
    link: bool = False
    fragment: str = ""
    because: str = ""

    @property
    def ends_early(self) -> bool:
        """Whether it ends a deletion, so that nothing more is sent."""
        return self.url_name == "backups:stage_end_early"

    @property
    def url(self) -> str:
        """The target address."""
        return reverse(self.url_name, args=[self.pk]) + self.fragment


def next_action(stage: CleanupStage, person: Person, facts: StageFacts | None = None) -> NextAction | None:
    """The stage's next action, None if nothing is left to do.

    If the person cannot take it, it is disabled with the reason.
    """
    if stage.scheduled:
        return None
    facts = facts or StageFacts(stage, may_operate=person.holds(Role.OPERATOR))
    action = _action(facts)
    if action is None or action.link:
        return action
    return replace(action, disabled_reason=_why_not(facts, person, action) or action.disabled_reason)


def next_label(stage: CleanupStage) -> str:
    """The stage's next action in words, for lists; empty if nothing is left to do."""
    action = _action(StageFacts(stage))
    return action.label if action else ""


def _why_not(facts: StageFacts, person: Person, action: NextAction) -> str:
    stage, busy = facts.stage, facts.busy
    if not facts.may_operate:
        return _("You are not an operator.")
    if busy is not None:
        return _("Wait for run %(pk)s (%(kind)s), or stop it first.") % {
            "pk": busy.pk,
            "kind": busy.get_kind_display(),
        }
    if stage.state in CleanupStage.BEFORE_DELETION and (missing := facts.turn.missing):
        return str(missing)
    if action.ends_early:
        return str(emergency.why_stopped(stage.environment) or "")
    return _why_not_delete(stage, person) if stage.state in {State.APPROVED, State.DELETING} else ""


def _why_not_delete(stage: CleanupStage, person: Person) -> str:
    if stopped := emergency.why_stopped(stage.environment):
        return str(stopped)
    if stage.approval and stage.approval.approver_id == person.pk:
        start = _("You approved this; another person must start it.")
        go_on = _("You approved this; another person must do it.")
        return start if stage.state == State.APPROVED else go_on
    return _why_not_by_backup(stage)


def _why_not_by_backup(stage: CleanupStage) -> str:
    """The reason why no key is deleted, if the backup was found damaged or is in another bucket; else empty."""
    backup, run = stage.generation, stage.run
    if backup is None or (backup.status == Generation.Status.VERIFIED and backup.is_here):
        return ""
    what = backup.get_status_display() if backup.is_here else _("in another bucket")
    if stage.state == State.APPROVED:
        sentence = _(
            "Backup %(pk)s is not usable: %(what)s. Put it right and verify it, or withdraw the request and fix the "
            "list of keys again."
        )
    elif run is not None and run.cursor.get("waits"):
        sentence = _(
            "Backup %(pk)s is not usable: %(what)s. Put it right and verify it, or stop here and keep the other keys."
        )
    else:
        return ""
    return sentence % {"pk": backup.pk, "what": what}


def _action(facts: StageFacts) -> NextAction | None:
    stage = facts.stage
    actions = {
        State.WAITING: _begin,
        State.FROZEN: _frozen,
        State.BACKED_UP: _prepare,
        State.VERIFIED: _prepare if stage.request.needs_check else _submit,
        State.CHECKED: _submit,
        State.SUBMITTED: _approval,
        State.APPROVED: _start,
        State.DELETING: _again,
        State.DELETED: _again,
        State.CONFIRMED: _accept,
    }
    found = actions.get(State(stage.state))
    if found and stage.state in CleanupStage.BEFORE_DELETION and (because := facts.turn.dead_end):
        return _ask_again(stage, because)
    return found(facts) if found else None


def _ask_again(stage: CleanupStage, because: str) -> NextAction:
    label = _("End this clean-up, then ask again")
    return NextAction(label, "backups:cleanup", stage.request_id, link=True, fragment=ENDING, because=str(because))


def _begin(facts: StageFacts) -> NextAction:
    label = _("Prepare %(environment)s") % {"environment": facts.stage.environment.name}
    if facts.turn.missing:  # its scan does not matter yet
        return NextAction(label, "backups:stage_begin", facts.stage.pk, str(facts.turn.missing))
    return replace(_freeze(facts), label=label, url_name="backups:stage_begin")


def _freeze(facts: StageFacts) -> NextAction:
    label, scan = _("Fix the list of keys again"), facts.scan
    late = scan is None or scan.completed_at is None or -facts.seconds_until(scan.completed_at) > timing.SCAN_FRESH
    reason = _("The namespace was not scanned within a day. Scan it first.") if late else ""
    return NextAction(label, "backups:stage_freeze", facts.stage.pk, reason)


def _frozen(facts: StageFacts) -> NextAction:
    stage, run = facts.stage, run_of(facts.stage)
    if run is not None and run.error_code == "not_empty":
        return _freeze(facts)
    if run is not None and run.state in Run.RESUMABLE:
        return _prepare(facts)
    label = _("Back up and verify") if stage.names else _("Prove that there are no keys")
    because = _("The next approval needs a new backup. To change the reason, end this clean-up and ask again.")
    return NextAction(label, "backups:stage_prepare", stage.pk, because=because if stage.returned_because else "")


def _prepare(facts: StageFacts) -> NextAction:
    stage, run = facts.stage, run_of(facts.stage)
    if run is not None and run.state in Run.RESUMABLE:
        label = _("Try again")
    elif stage.state == State.BACKED_UP:
        label = _("Verify the backup")
    elif stage.state == State.FROZEN:
        label = _("Back up and verify")
    else:
        label = _("Check again") if run is not None and run.kind == Run.Kind.CHECK else _("Check against D1")
    return NextAction(label, "backups:stage_prepare", stage.pk)


def _submit(facts: StageFacts) -> NextAction:
    stage, references = facts.stage, facts.references
    if not references.done:
        label = _("Search the code") if references.missing else _("Answer the code references")
        return NextAction(label, "backups:stage_references", stage.pk, link=True, because=references.missing)
    if not backup_is_fresh(stage):
        return NextAction(_("Verify the backup again"), "backups:stage_prepare", stage.pk)
    if facts.share is None:
        return NextAction(_("Record the share and submit for approval"), "backups:stage_submit", stage.pk)
    return NextAction(_("Submit for approval"), "backups:stage_submit", stage.pk)


def _approval(facts: StageFacts) -> NextAction | None:
    stage = facts.stage
    return NextAction(_("Open the request"), "approval", stage.approval_id, link=True) if stage.approval_id else None


def _start(facts: StageFacts) -> NextAction:
    stage = facts.stage
    first = cleanup_evidence.first_chunk(stage)
    if stage.environment.production and first < stage.names:
        # The run then stops, until a person has looked at the application.
        label = _("Delete the first %(first)s of %(n)s keys") % {"first": first, "n": spelled(stage.names)}
    else:
        label = ngettext("Delete %(n)s key", "Delete %(n)s keys", stage.names) % {"n": spelled(stage.names)}
    approval = stage.approval
    if approval is None or approval.state != ApprovalRequest.State.APPROVED or approval.use_by is None:
        reason = _("The approval is no longer valid.")
    elif facts.seconds_until(approval.use_by) <= 0:
        reason = _("The deadline for using the approval has passed. Withdraw it and submit the stage again.")
    else:
        reason = str(why_not_now(stage))
    return NextAction(label, "backups:stage_start", stage.pk, reason, danger=True)


def _again(facts: StageFacts) -> NextAction:
    stage, run = facts.stage, run_of(facts.stage)
    if run is not None and run.state == Run.State.FAILED and run.error_code in IN_VAIN:
        label, because = _("End the deletion early, then ask again"), run.shown_error
        return NextAction(label, "backups:stage_end_early", stage.pk, because=because)
    stopped = run is not None and run.state == Run.State.STOPPED
    label = _("Go on") if stopped else _("Try again")
    if run is not None and stopped and run.cursor.get("waits"):
        label = ngettext("Delete the other %(n)s key", "Delete the other %(n)s keys", stage.unreached) % {
            "n": number_format(stage.unreached, force_grouping=True)
        }
    return NextAction(label, "backups:stage_again", stage.pk, danger=stage.state == State.DELETING)


def _accept(facts: StageFacts) -> NextAction:
    stage = facts.stage
    if completion.leftovers(stage).exists() and not stage.leftovers_note:
        return NextAction(_("Explain the leftover keys"), "backups:stage_leftovers", stage.pk)
    if completion.unexplained_others(stage):
        return NextAction(_("Explain the other keys under the prefix"), "backups:stage_others", stage.pk)
    if because := qa.proves_nothing(stage):
        return _ask_again(stage, because)
    run = after_check.open_run(stage)
    return NextAction(
        _("Application works: record it") if stage.names else _("Record the reason"),
        "backups:stage_accept",
        stage.pk,
        str(after_check.wait_for(run)) if run else "",
    )


def operators_turn() -> QuerySet[CleanupStage]:
    """The stages of open clean-ups whose next step is an operator's, and that have no open run."""
    open_run = Q()
    for run in ("run", "confirm_run", "generation__run", "generation__verify_run", "generation__checks__run"):
        open_run |= Q(**{f"{run}__state__in": Run.OPEN})
    earlier = CleanupStage.objects.filter(request=OuterRef("request"), order__lt=OuterRef("order"))
    return CleanupStage.objects.filter(
        ~Exists(earlier.exclude(state=State.ACCEPTED)),
        # Asked of each stage that is left. As a list of ids, Postgres would join every stage with every run first.
        ~Exists(CleanupStage.objects.filter(open_run, pk=OuterRef("pk"))),
        state__in=OPERATORS_TURN,
        request__ended_at=None,
        request__completed_at=None,
        scheduled=False,
    )
