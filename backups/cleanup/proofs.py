"""The proofs of a stage: each step with its words, person, time, digest and page, worded here once.

The card has them as steps, done or still to do. Its phases, its summary and the certificate are views of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

from django.db.models import TextChoices
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from backups.cleanup import after_check
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.references import BEFORE_SUBMIT
from backups.cleanup.stages import left_out_in_words, run_of
from backups.integrity.newer import rows as newer_rows
from backups.models import BackupShare, Check, CleanupStage, Generation, Restore
from kvops.models import ApprovalRequest, Person, Run
from kvops.wording import spelled

State = CleanupStage.State


class StageStep(TextChoices):
    """The steps of a stage, with those that only its certificate has."""

    NAMES = "names", gettext_lazy("Fix the list of keys")
    REFERENCES = "references", gettext_lazy("Answer the code references")
    SEARCH = "search", gettext_lazy("Search the code")
    BACKUP = "backup", gettext_lazy("Back up")
    VERIFIED = "verified", gettext_lazy("Verify the backup")
    CHECKED = "checked", gettext_lazy("Check against D1")
    SHARED = "shared", gettext_lazy("Share the backup with the team")
    SUBMITTED = "submitted", gettext_lazy("Submit")
    APPROVED = "approved", gettext_lazy("Approval by another person")
    WRITERS = "writers", gettext_lazy("Writers frozen")
    HOURS = "hours", gettext_lazy("Allowed hours")
    DELETED = "deleted", gettext_lazy("Delete")
    GONE = "gone", gettext_lazy("Prove that the keys are gone")
    NONE = "none", gettext_lazy("Prove that there are no keys")
    TESTED = "tested", gettext_lazy("Test the application")
    BACKUP_AGAIN = "backup_again", gettext_lazy("Compare the backup with D1 again")
    DATASET_AGAIN = "dataset_again", gettext_lazy("Compare the dataset with D1 again")
    UNDO = "undo", gettext_lazy("Undo of the deletion")
    RESTORE = "restore", gettext_lazy("Restore of deleted keys")


LAST = 4
"""The phase of the person's test, and of the steps beside the plan: comparisons with D1, an undo, restores."""
_PHASES = {StageStep.APPROVED: 1, StageStep.DELETED: 2, StageStep.GONE: 3, StageStep.NONE: 3, StageStep.TESTED: LAST}
ORDER = (*CleanupStage.BEFORE_DELETION, State.DELETING, State.DELETED, State.CONFIRMED, State.ACCEPTED)


@dataclass(frozen=True)
class Proof:
    """A step with its proof. `link` is the text for `url`, and `digest_of` the thing that has the digest.

    `state` is done, current, todo or failed; in a certificate done, missing, wrong or not_applicable. `by` is a person
    or another actor, and `since` the first of two times, of which `at` is the second. `more` is told by a certificate
    only, which has the proofs of several environments.
    """

    step: StageStep
    words: str = ""
    at: datetime | None = None
    url: str = ""
    link: str = ""
    state: str = "done"
    by: str = ""
    since: datetime | None = None
    digest: str = ""
    digest_of: str = ""
    more: str = ""
    environment: str = ""

    @property
    def title(self) -> str:
        """The name of the step."""
        return str(self.step.label)

    @property
    def note(self) -> str:
        """The words, with the name of the person whose own they are."""
        stated = self.by and self.step in {StageStep.SHARED, StageStep.TESTED}
        return f"{self.by.partition(' <')[0]}: {self.words}" if stated else self.words

    @property
    def said(self) -> str:
        """The words with all details."""
        return f"{self.words}{self.more}"

    @property
    def phase(self) -> int:
        """The phase that it belongs to, from 0."""
        beside = {StageStep.BACKUP_AGAIN, StageStep.DATASET_AGAIN, StageStep.UNDO, StageStep.RESTORE}
        return LAST if self.step in beside else _PHASES.get(self.step, 0)


def reached(stage: CleanupStage) -> int:
    """The progress of the stage as an index in `ORDER`; for an ended stage, its progress at the end."""
    if stage.state != State.ENDED:
        return ORDER.index(State(stage.state))
    if stage.check_passed_id:
        return ORDER.index(State.CHECKED)
    status = stage.generation.status if stage.generation else ""
    ended = {Generation.Status.VERIFIED: State.VERIFIED, Generation.Status.COMPLETE: State.BACKED_UP}
    frozen = State.FROZEN if stage.frozen_at else State.WAITING
    return ORDER.index(ended.get(Generation.Status(status), frozen) if status else frozen)


def proofs(facts: StageFacts) -> Sequence[Proof]:
    """The steps of the stage in order, each done, current, still to do, or failed."""
    stage, here, found = facts.stage, reached(facts.stage), list[Proof]()
    waits = stage.state == State.ENDED
    for step, reaches, prove in _plan(facts):
        done = reaches if isinstance(reaches, bool) else here >= ORDER.index(reaches)
        if done:
            found.append(prove() or Proof(step))
        elif waits:
            found.append(Proof(step, state="todo"))
        else:
            found.append(_current(facts, step, is_run=not isinstance(reaches, bool)))
        waits = waits or not done
    again = (compared_again(one) for one in after_check.results(stage))
    return [*found, *again, *_brought_back(stage)]


type _Planned = tuple[StageStep, CleanupStage.State | bool, Callable[[], Proof | None]]


def _plan(facts: StageFacts) -> Sequence[_Planned]:
    """The steps, each with the state it reaches (or whether it is done, if no state says so), and its proof."""
    stage = facts.stage
    share = facts.share if reached(stage) > ORDER.index(State.FROZEN) else None  # sent back: another backup comes
    asked: Sequence[_Planned] = (
        (StageStep.REFERENCES, _referenced(facts), lambda: _references(facts)),
        (StageStep.SHARED, share is not None, lambda: shared(stage, share, lambda person: person.name)),
    )
    first: _Planned = (StageStep.NAMES, State.FROZEN, lambda: names(stage))
    last: _Planned = (StageStep.TESTED, State.ACCEPTED, lambda: tested(stage))
    if stage.frozen_at and stage.names == 0:
        return [first, (StageStep.NONE, State.CONFIRMED, lambda: gone(stage)), last]
    plan: list[_Planned] = [
        first,
        (StageStep.BACKUP, State.BACKED_UP, lambda: backup(stage)),
        (StageStep.VERIFIED, State.VERIFIED, lambda: _verified(stage)),
        (StageStep.CHECKED, State.CHECKED, lambda: checked(stage)),
        *(() if stage.scheduled else asked),
        (StageStep.SUBMITTED, State.SUBMITTED, lambda: _asked(stage)),
        (StageStep.APPROVED, State.APPROVED, lambda: _approved(stage)),
        (StageStep.DELETED, State.DELETED, lambda: deleted(stage)),
        (StageStep.GONE, State.CONFIRMED, lambda: gone(stage)),
        last,
    ]
    return [step for step in plan if step[0] != StageStep.CHECKED or stage.request.needs_check]


def _current(facts: StageFacts, step: StageStep, *, is_run: bool) -> Proof:
    """The current step: it waits for a person or a run, or failed with the run's sentence."""
    stage = facts.stage
    if stage.state == State.WAITING and facts.turn.missing:
        return Proof(step, state="todo")  # the button has the reason
    if step == StageStep.REFERENCES:
        return Proof(step, facts.references.wanting, None, *_code(stage), "current")
    if stage.state == State.SUBMITTED and stage.approval:
        return Proof(step, _("The time to decide ends"), stage.approval.decide_by, *_page(stage.approval), "current")
    run = run_of(stage) if is_run else None
    return _at_work(facts, step, run) if run else Proof(step, state="current")


def _at_work(facts: StageFacts, step: StageStep, run: Run) -> Proof:
    if run.is_open:
        return Proof(step, run.shown_note, None, *_run(run), "current")
    if run.state == Run.State.FAILED:
        return Proof(step, run.shown_error, run.finished_at, *_run(run), "failed")
    if run.state == Run.State.STOPPED:
        state = "current" if run.cursor.get("waits") else "failed"
        return Proof(step, run.shown_note or _("Stopped."), None, *_run(run), state)
    return differing(step, facts.differing) if facts.differing else Proof(step, state="current")


def differing(step: StageStep, check: Check) -> Proof:
    """A comparison with D1 that found differences."""
    words = ngettext("%(n)s difference with D1.", "%(n)s differences with D1.", check.differences)
    url = reverse("backups:check", args=[check.pk])
    words %= {"n": spelled(check.differences)}
    return Proof(step, words, check.finished_at, url, _("See each difference"), "failed")


def _run(run: Run | None) -> tuple[str, str]:
    """The page of a run, and the text of a link to it."""
    return (reverse("run", args=[run.pk]), _("Run %(pk)s") % {"pk": run.pk}) if run else ("", "")


def _page(approval: ApprovalRequest) -> tuple[str, str]:
    return reverse("approval", args=[approval.pk]), _("Approval %(pk)s") % {"pk": approval.pk}


def _code(stage: CleanupStage) -> tuple[str, str]:
    return reverse("backups:stage_references", args=[stage.pk]), _("Code references")


def names(stage: CleanupStage) -> Proof:
    """The fixed list of keys."""
    words = ngettext("%(n)s name", "%(n)s names", stage.names) % {"n": spelled(stage.names)}
    url, link = reverse("backups:stage", args=[stage.pk]), ""
    if stage.scan:
        url, link = reverse("run", args=[stage.scan.run_id]), _("Scan")
    more = f";\n{left_out_in_words(stage)}" if stage.left_out else ""
    proof = Proof(StageStep.NAMES, words, stage.frozen_at, url, link, more=more)
    return replace(proof, digest=stage.names_sha256, digest_of=_("names"))


def backup(stage: CleanupStage) -> Proof | None:
    """The finished backup of exactly these keys."""
    generation = stage.generation
    if generation is None or not generation.finished_at:
        return None
    words = ngettext("%(n)s key", "%(n)s keys", generation.keys) % {"n": spelled(generation.keys)}
    url, link = reverse("backups:generation", args=[generation.pk]), _("Backup %(pk)s") % {"pk": generation.pk}
    more = f": {generation.bucket}/{generation.manifest_key}"
    made = Proof(StageStep.BACKUP, words, generation.finished_at, url, link, by=generation.actor, more=more)
    return replace(made, digest=generation.manifest_sha256, digest_of=_("manifest"))


def same_as_kv() -> str:
    """The words of a verification that passed."""
    return _("Every entry equals what KV returned")


def damaged(generation: Generation) -> str:
    """The words of a verification that found a problem."""
    return _("The backup is damaged: %(problem)s") % {"problem": generation.shown_problem}


def _verified(stage: CleanupStage) -> Proof | None:
    """The last verification, or the one under way."""
    generation = stage.generation
    if generation is None:
        return None
    run = generation.verify_run
    if generation.status == Generation.Status.DAMAGED:
        at = run.finished_at if run else None
        return Proof(StageStep.VERIFIED, damaged(generation), at, *_run(run), "failed")
    if run and run.state in Run.RESUMABLE:
        reason = run.shown_error or run.shown_note or _("Stopped.")
        words = _("Verified before. The newest verification did not finish: %(reason)s") % {"reason": reason}
        return Proof(StageStep.VERIFIED, words, generation.verified_at, *_run(run), "failed")
    words = _("Verified before. It is being verified again") if run and run.is_open else same_as_kv()
    return Proof(StageStep.VERIFIED, words, generation.verified_at, *_run(run))


def checked(stage: CleanupStage) -> Proof | None:
    """The comparison with D1 before the deletion."""
    return _compared(StageStep.CHECKED, stage.check_passed) if stage.check_passed else None


def _compared(step: StageStep, check: Check) -> Proof:
    url, link = reverse("backups:check", args=[check.pk]), _("Check %(pk)s") % {"pk": check.pk}
    proof = Proof(step, newer_rows.in_words(check), check.finished_at, url, link)
    return replace(proof, digest=check.definition_digest, digest_of=_("rule of the dataset"))


def _referenced(facts: StageFacts) -> bool:
    if facts.stage.state in {*BEFORE_SUBMIT, State.ENDED}:
        return facts.references.done
    return facts.stage.search_id is not None


def _references(facts: StageFacts) -> Proof | None:
    """The answers for the code as they are now; the certificate has them as they were approved."""
    found = facts.references
    if found.search is None:
        return None
    return Proof(StageStep.REFERENCES, found.in_words, found.search.searched_at, *_code(facts.stage))


def shared(stage: CleanupStage, share: BackupShare | None, called: Callable[[Person], str]) -> Proof | None:
    """The first share of the backup with the team. Without a person, Slack took the message of KVOps."""
    if share is None:
        return None
    if share.by is not None:
        url = reverse("backups:generation", args=[stage.generation_id])
        return Proof(StageStep.SHARED, share.place, share.at, url, by=called(share.by))
    url = f"{reverse('notifications')}?subject=generation:{stage.generation_id}"
    more = f": {share.place}"
    return Proof(StageStep.SHARED, _("The Slack channel took the message"), share.at, url, _("Message"), more=more)


def _asked(stage: CleanupStage) -> Proof | None:
    approval = stage.approval
    return (
        Proof(StageStep.SUBMITTED, approval.requester.name, approval.created_at, *_page(approval)) if approval else None
    )


def _approved(stage: CleanupStage) -> Proof | None:
    approval = stage.approval
    if approval is None or approval.approver is None:
        return None
    return Proof(StageStep.APPROVED, approval.approver.name, approval.decided_at, *_page(approval))


def eyes(stage: CleanupStage) -> Proof | None:
    """The decision of another person, with the digest of the approved content."""
    approval = stage.approval
    if approval is None or approval.approver is None or reached(stage) < ORDER.index(State.APPROVED):
        return None
    both = {"requester": approval.requester, "approver": approval.approver}
    words = _("Asked for by %(requester)s, approved by %(approver)s") % both
    proof = Proof(StageStep.APPROVED, words, approval.decided_at, *_page(approval))
    return replace(proof, digest=approval.digest, digest_of=_("approved content"))


def deleted(stage: CleanupStage) -> Proof | None:
    """The deletion."""
    run = stage.run
    if run is None or stage.state == State.DELETING:
        return None
    words = _("%(deleted)s deleted, %(skipped)s left out") % {
        "deleted": spelled(stage.deleted),
        "skipped": spelled(stage.skipped),
    }
    by = str(stage.approval.starter) if stage.approval and stage.approval.starter else run.actor
    return Proof(StageStep.DELETED, words, run.finished_at, *_run(run), by=by)


def gone(stage: CleanupStage) -> Proof | None:
    """The two listings without the keys, and the keys that are left under the prefix."""
    if stage.state not in {State.CONFIRMED, State.ACCEPTED}:
        return None
    figures = {"deleted": spelled(stage.deleted), "names": spelled(stage.names)}
    if not stage.names or stage.deleted == stage.names:
        words = _("Listed twice without them")
    elif stage.deleted:
        words = _("Deleted: %(deleted)s of %(names)s, and gone from two listings") % figures
    else:
        words = _("Deleted: %(deleted)s of %(names)s, so nothing is proven gone") % figures
    if stage.others:
        other = ngettext(
            "%(n)s key that is not of this clean-up is left under the prefix",
            "%(n)s keys that are not of this clean-up are left under the prefix",
            stage.others,
        )
        words = f"{words} · {other % {'n': spelled(stage.others)}}"
    step = StageStep.GONE if stage.names else StageStep.NONE
    proof = Proof(step, words, stage.second_listing_at, *_run(stage.confirm_run))
    return replace(proof, since=stage.first_listing_at)


def tested(stage: CleanupStage) -> Proof | None:
    """The person's test of the application."""
    if stage.accepted_by is None:
        return None
    url = f"{reverse('audit:entries')}?subject=stage:{stage.pk}&tree=on"
    by = str(stage.accepted_by)
    return Proof(StageStep.TESTED, stage.accepted_note, stage.accepted_at, url, _("Audit log"), by=by)


def compared_again(found: after_check.AfterCheck) -> Proof:
    """A comparison with D1 after the deletion. They run by themselves, beside the test of the application."""
    step = StageStep.BACKUP_AGAIN if found.code == "backup" else StageStep.DATASET_AGAIN
    check = found.check
    if check is None:
        return Proof(step, found.missing, state="failed" if found.refused else "todo")
    if found.differs:
        return differing(step, check)
    if found.unfinished:
        run = check.run
        words = run.shown_note if run.is_open else run.shown_error or run.shown_note
        return Proof(step, words, None, *_run(run), "current" if run.is_open else "failed")
    proof = _compared(step, check)
    return replace(proof, more=f";\n{after_check.ACCEPTED}") if found.accepted else proof


def _brought_back(stage: CleanupStage) -> Iterator[Proof]:
    """The undo of the deletion, and other restores of its keys, each as a step of its own."""
    for restore in chain(*stage.written_back):
        step = StageStep.UNDO if restore.is_undo else StageStep.RESTORE
        page = reverse("backups:restore", args=[restore.pk]), _("Restore %(pk)s") % {"pk": restore.pk}
        if restore.state == Restore.State.DONE:
            words = _("%(written)s restored, %(left)s not")
            words %= {"written": spelled(restore.written), "left": spelled(restore.left)}
            yield Proof(step, words, restore.finished_at, *page)
        else:
            yield Proof(step, _("The keys are being written back"), None, *page, "current")
