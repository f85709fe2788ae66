"""Changes: submitted with a reason and QA's change, approved by another person, started, ended, accepted.

Each move is one conditional UPDATE and one audit entry. Only a signed-in operator submits and starts.
"""

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.changes import evidence as change_evidence, qa
from backups.changes.moves import CHANGES, ChangeRefused, end, insist_operator, label, locked, record_change
from backups.models import Generation, KeyChange
from kvops.approvals import evidence
from kvops.models import ApprovalRequest, Person, Run
from kvops.runbook import secrets
from kvops.wording import insist_explained, say

State = KeyChange.State
decided = CHANGES.decided


def submit(
    change: KeyChange, *, reason: str, repeats: KeyChange | None = None, no_qa_because: str = "", by: Person
) -> ApprovalRequest:
    """Ask another person to approve exactly this change: draft -> submitted. Raises ChangeRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(change)
        if mine.state != State.DRAFT:
            raise ChangeRefused(say(_("The change is not ready to submit: %(state)s."), state=label(mine)))
        insist_asker(mine, by)
        insist_explained(reason, ChangeRefused, _("Give the reason for the change. The reviewer reads it."))
        for text in (reason, no_qa_because):
            secrets.insist_no_secret(text)
        insist_prepared(mine)
        mine.reason, mine.no_qa_because = reason.strip(), no_qa_because.strip()
        _insist_qa(mine, repeats)
        return CHANGES.submit(
            mine,
            State.DRAFT,
            title=change_evidence.title(mine),
            evidence=change_evidence.build(mine),
            by=by,
            values={"reason": mine.reason, "no_qa_because": mine.no_qa_because, "repeats": mine.repeats},
        )


def insist_asker(change: KeyChange, by: Person) -> None:
    """Raise ChangeRefused unless the person prepared the change. Whoever requests it cannot approve it."""
    if change.asked_by_id != by.pk:
        sentence = _("%(name)s prepared this change, and nobody else submits it. Prepare one of your own in its place.")
        raise ChangeRefused(say(sentence, name=change.asked_by.name))


def insist_prepared(change: KeyChange) -> None:
    """Raise ChangeRefused unless the proposal is made and the old value is in a verified backup."""
    if not change.object_sha256:
        raise ChangeRefused(_("The proposal is still being made."))
    if change.new_key:
        return
    verified = Generation.objects.verified().filter(changes=change).first()
    if verified is None:
        raise ChangeRefused(_("The old value is not in a verified backup yet. Wait for it, or look at its run."))
    if not verified.encrypted or not verified.is_here:
        raise ChangeRefused(_("The backup of the old value is not encrypted, or is in another bucket."))


def _insist_qa(change: KeyChange, repeats: KeyChange | None) -> None:
    """In production, name an accepted change of an earlier environment, or give a reason where one is allowed."""
    change.repeats = None
    if not qa.comes_first(change):
        change.no_qa_because = ""
        return
    if repeats is not None:
        change.repeats = qa.accepted_before(change).filter(pk=repeats.pk).first()
        if change.repeats is None:
            raise ChangeRefused(
                _("This is no accepted change of the same key in QA of the last 7 days that changed the same parts.")
            )
        change.no_qa_because = ""
        return
    if not qa.reason_allowed(change):
        raise ChangeRefused(
            _("An expiration or metadata alone is changed in QA first: name the accepted change that this one repeats.")
        )
    sentence = _("Name the accepted change in QA that this one repeats, or give the reason why QA does not apply.")
    insist_explained(change.no_qa_because, ChangeRefused, sentence)


def start(change: KeyChange, *, by: Person) -> Run:
    """Approved -> writing: claim the approval and create the run in one transaction.

    Raises ChangeRefused and ApprovalRefused if a right, the time or the evidence is no longer valid; then nothing is
    started. Stale evidence also ends the change.
    """
    return CHANGES.start(
        change,
        by=by,
        derive=_digest,
        stale=lambda _change: (
            _("The change differs from the approved one."),
            _("The change differs from the approved one. Prepare it again."),
        ),
        total=lambda _change: 1,
    )


def _digest(change: KeyChange) -> str:
    """The digest of the evidence; empty if the change of QA no longer stands."""
    return evidence.digest_of(evidence.canonical_evidence(change_evidence.build(change))) if _qa_stands(change) else ""


def _qa_stands(change: KeyChange) -> bool:
    """Whether the change of QA that this one repeats was not reversed since. A week counts from the submit."""
    return change.repeats_id is None or not KeyChange.objects.applied().filter(reverses=change.repeats_id).exists()


def give_up(change: KeyChange, *, by: Person) -> None:
    """Give up a change that was not submitted. Raises ChangeRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(change)
        # A worker that is making the proposal would put it after it was erased.
        if mine.prepare_run is not None and mine.prepare_run.is_open:
            raise ChangeRefused(_("The proposal is being made. Wait for its run, or stop the run first."))
        end(mine, [State.DRAFT], because=gettext_noop("Given up before it was submitted."), actor=by.actor)


def end_early(change: KeyChange, *, by: Person) -> None:
    """End a stopped or failed change early: a sent value is still read back, nothing is written any more."""
    CHANGES.end_early(change, lambda _change, _run: {"ending": True}, by=by)


def accept(change: KeyChange, *, note: str, by: Person) -> None:
    """Record that the application works with the new value. Raises ChangeRefused."""
    with log.transaction():
        insist_operator(by)
        insist_explained(note, ChangeRefused, _("Describe what you tried in the application, and that it works."))
        secrets.insist_no_secret(note)
        mine = locked(change)
        done = KeyChange.objects.applied().filter(pk=mine.pk, accepted_at=None)
        if done.update(accepted_at=Now(), accepted_by=by, accepted_note=note.strip()) != 1:
            raise ChangeRefused(_("Only a written change is accepted, and only once."))
        record_change(Action.CHANGE_ACCEPTED, mine, actor=by.actor, details={"note": note.strip()[:500]})
