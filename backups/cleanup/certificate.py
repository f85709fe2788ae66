"""The certificate of a clean-up: the steps of the policy in their order, each with its proof.

It is derived from stored rows, also for a clean-up that is open, ended or undone; its head says so. A step without a
proof is a line that says so. `certificate_files` has it as JSON and as Markdown.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain

from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _, ngettext

from backups.cleanup import after_check, evidence as cleanup_evidence
from backups.cleanup.certificate_files import (
    Certificate,
    CertificateEnvironment,
    CertificateFacts,
    CertificateLine,
    CertificateSection,
    answers_in_words,
    references_in_words,
)
from backups.cleanup.pages import came_back, result as cleanup_result
from backups.cleanup.stages import left_out_in_words
from backups.cleanup.stepper import ORDER, reached
from backups.integrity.newer import rows as newer_rows
from backups.models import CleanupRequest, CleanupStage, Generation, Restore
from kvops.approvals import risks
from kvops.approvals.code_verdict import follow_ups, follow_ups_open
from kvops.names import visible
from kvops.wording import moment, said, spelled

State = CleanupStage.State


def build(cleanup: CleanupRequest, facts: CertificateFacts | None = None) -> Certificate:
    """The certificate of the clean-up as it is now."""
    facts = facts or CertificateFacts(cleanup.pk)
    stages = facts.stages

    def each(*describe: Callable[[CleanupStage], CertificateLine | None]) -> list[CertificateLine]:
        found = [(stage, one(stage)) for stage in stages for one in describe]
        return [replace(line, environment=stage.environment.name) for stage, line in found if line]

    backup = each(_backup, partial(_verified, facts), _checked, partial(_shared, facts))
    sections = [
        CertificateSection("5.1", _("Keys and code references"), each(_names, partial(_references, facts))),
        CertificateSection("5.2", _("Backup to R2"), backup),
        CertificateSection("5.3", _("Deletion: QA, then production"), each(*_deletion(facts))),
        CertificateSection("5.4", _("Code"), each(partial(_code, facts))),
        CertificateSection(
            "6", _("Check after the clean-up, and four eyes"), each(_backup_again, _dataset_again, _eyes)
        ),
    ]
    result = cleanup_result.Result(cleanup, stages)
    words = " ".join(filter(None, [result.words, _follow_ups(facts)]))
    return Certificate(cleanup, words, result.is_complete, [_environment(stage) for stage in stages], sections)


def _follow_ups(facts: CertificateFacts) -> str:
    """The approved follow-ups that are open today, as a sentence; empty without one."""
    found = follow_ups_open({"follow_ups": follow_ups(facts.open_follow_ups())})
    return f"{found}." if found else ""


def in_english(cleanup: CleanupRequest, facts: CertificateFacts | None = None) -> Certificate:
    """The certificate in English, of which the digest is made."""
    with translation.override("en"):
        return build(cleanup, facts)


def _environment(stage: CleanupStage) -> CertificateEnvironment:
    """The account and the namespace as approved, or else as they are now, and the numbers of keys."""
    approved = json.loads(stage.approval.evidence) if stage.approval else {}
    so_far = reached(stage)
    deleted = stage.deleted if so_far >= ORDER.index(State.DELETED) else None
    proven = so_far >= ORDER.index(State.CONFIRMED)
    return CertificateEnvironment(
        name=stage.environment.name,
        account_id=approved.get("account_id", stage.environment.account_id),
        namespace=approved.get("namespace_title", stage.namespace.title),
        namespace_id=approved.get("namespace_id", stage.namespace.namespace_id),
        approved=stage.names if approved and so_far >= ORDER.index(State.APPROVED) else None,
        deleted=deleted,
        kept=None if deleted is None else vars(stage)["kept"],
        proven=stage.deleted if proven else None,
        left=stage.remaining if proven else None,
    )


def _nothing(what: str) -> CertificateLine:
    return CertificateLine(what=what, said=_("Missing: this was not done."), missing=True)


def _not_needed(what: str, why: str) -> CertificateLine:
    return CertificateLine(what=what, said=why, not_applicable=True)


def _names(stage: CleanupStage) -> CertificateLine:
    what = _("List of keys")
    if not stage.frozen_at:
        return _nothing(what)
    names = ngettext("%(n)s name", "%(n)s names", stage.names) % {"n": spelled(stage.names)}
    if stage.left_out:
        names = f"{names};\n{left_out_in_words(stage)}"
    return CertificateLine(
        what=what,
        said=names,
        at=stage.frozen_at,
        digest=stage.names_sha256,
        digest_of=_("names"),
        url=reverse("backups:stage", args=[stage.pk]),
    )


def _references(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine:
    """The search of the code for the keys, as it was approved."""
    what, references = _("Code references"), facts.references[stage.pk]
    if not references:
        return _without_search(stage, what)
    search = references["search"]
    return CertificateLine(
        what=what,
        said=references_in_words(references),
        by=facts.searches[search["id"]].made_by,
        at=datetime.fromisoformat(search["searched_at"]),
        digest=search["digest"],
        digest_of=_("report of the search"),
        url=reverse("backups:stage_references", args=[stage.pk]),
    )


def _without_search(stage: CleanupStage, what: str) -> CertificateLine:
    if stage.state != State.ENDED:
        return _without_keys(stage, what) or _nothing(what)
    return CertificateLine(what=what, said=_("Missing: the stage ended before it was submitted."), missing=True)


def _backup(stage: CleanupStage) -> CertificateLine | None:
    what, backup = _("Backup"), stage.generation
    if backup is None or not backup.finished_at:
        return _without_keys(stage, what) or _nothing(what)
    keys = ngettext("%(n)s key", "%(n)s keys", backup.keys) % {"n": spelled(backup.keys)}
    place = f"{keys}: {backup.bucket}/{backup.manifest_key}"
    address = reverse("backups:generation", args=[backup.pk])
    made = CertificateLine(what=what, said=place, by=backup.actor, at=backup.finished_at, url=address)
    return replace(made, digest=backup.manifest_sha256, digest_of=_("manifest"))


def _without_keys(stage: CleanupStage, what: str) -> CertificateLine | None:
    """The line for a stage that had nothing to back up, share or delete."""
    empty = stage.frozen_at and stage.names == 0
    return _not_needed(what, _("There were no keys.")) if empty else None


def _verified(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine | None:
    """The last verification before the stage was accepted, and what was found since."""
    what, backup, accepted = _("Backup verified"), stage.generation, stage.accepted_at
    entry = facts.verified[stage.pk]
    if backup is None or entry is None:
        return _without_keys(stage, what) or _nothing(what)
    proof = CertificateLine(what=what, said=_("Every entry equals what KV returned"), by=entry.actor, at=entry.at)
    proof = replace(proof, url=entry.get_absolute_url())
    if backup.status != Generation.Status.DAMAGED:
        return proof
    problem = {"problem": backup.shown_problem}
    if accepted:
        return replace(proof, said=f"{proof.said};\n{_('damaged since: %(problem)s') % problem}")
    return replace(proof, said=_("The backup is damaged: %(problem)s") % problem, wrong=True)


def _checked(stage: CleanupStage) -> CertificateLine | None:
    what, check = _("Check against D1 before the deletion"), stage.check_passed
    if not stage.request.needs_check:
        return _not_needed(what, _("The policy needs none for this category."))
    if check is None:
        return _without_keys(stage, what) or _nothing(what)
    address, shown = reverse("backups:check", args=[check.pk]), newer_rows.in_words(check)
    if stage.approval and (newer := json.loads(stage.approval.evidence)["check"].get("newer")):
        shown = f"{shown};\n{newer_rows.grounds_in_words(newer)}"
    passed = CertificateLine(what=what, said=shown, at=check.finished_at, url=address)
    return replace(passed, digest=check.definition_digest, digest_of=_("rule of the dataset"))


def _shared(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine | None:
    what, share = _("Backup shared with the team"), facts.shares.get(stage.generation_id)
    if share is None:
        return _without_keys(stage, what) or _nothing(what)
    address = reverse("backups:generation", args=[share.generation_id])
    return CertificateLine(what=what, said=share.place, by=str(share.by or ""), at=share.at, url=address)


def _writers(stage: CleanupStage) -> CertificateLine:
    what, frozen = _("Writers frozen"), cleanup_evidence.submitted(stage)["writers_frozen"]
    if not frozen["until"]:
        return _not_needed(what, _("No writers were frozen."))
    until = _("until %(until)s") % {"until": moment(datetime.fromisoformat(frozen["until"]))}
    return CertificateLine(what=what, said=until, by=frozen["by"])


def _hours(stage: CleanupStage) -> CertificateLine:
    what, hours = _("Allowed hours"), cleanup_evidence.submitted(stage)["hours"]
    if not hours["hours"]:
        return _not_needed(what, _("The environment allows every hour."))
    return CertificateLine(what=what, said=f"{hours['hours']} {hours['days']} {hours['time_zone']}".replace("  ", " "))


def _deleted(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine | None:
    what, run = _("Deletion"), stage.run
    if run is None or stage.state == State.DELETING:
        return _without_keys(stage, what) or _nothing(what)
    note = _("%(deleted)s deleted, %(skipped)s left out") % {
        "deleted": spelled(stage.deleted),
        "skipped": spelled(stage.skipped),
    }
    by = str(stage.approval.starter) if stage.approval and stage.approval.starter else run.actor
    if reasons := facts.left_out[stage.pk]:
        note = f"{note} ({'; '.join(reasons)})"
    told = f"{note}. {stage.leftovers_note}" if stage.leftovers_note else note
    return CertificateLine(what=what, said=told, by=by, at=run.finished_at, url=reverse("run", args=[run.pk]))


def _empty(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine:
    what, run = _("Proof by two listings"), stage.confirm_run
    if stage.state not in {State.CONFIRMED, State.ACCEPTED}:
        return _nothing(what)
    left = ngettext("%(n)s key is left under the prefix", "%(n)s keys are left under the prefix", stage.remaining)
    shown = left % {"n": spelled(stage.remaining)} if stage.remaining else _("Nothing is left under the prefix")
    if stage.others:
        shown = f"{shown}. {_others(facts, stage)}"
    told = f"{shown}. {said(stage.others_note)}" if stage.others_note else shown
    address = reverse("run", args=[run.pk]) if run else ""
    proof = CertificateLine(what=what, said=told, since=stage.first_listing_at, at=stage.second_listing_at)
    return replace(proof, url=address)


def _others(facts: CertificateFacts, stage: CleanupStage) -> str:
    """The first keys under the prefix that are not of the clean-up, by name."""
    names = facts.other_names[stage.pk]
    words = _("Other keys: %(names)s") % {"names": ", ".join(map(visible, names))}
    more = stage.others - len(names)
    return f"{words} {_('and %(n)s more') % {'n': spelled(more)}}" if more else words


def _tested(stage: CleanupStage) -> CertificateLine:
    what = _("Test of the application")
    if stage.accepted_by is None:
        return _nothing(what)
    address = reverse("backups:stage", args=[stage.pk])
    return CertificateLine(
        what=what, said=stage.accepted_note, by=str(stage.accepted_by), at=stage.accepted_at, url=address
    )


def _restored(stage: CleanupStage) -> CertificateLine | None:
    """The restores that wrote deleted keys back, if there were any, with the person who prepared the last one."""
    what, found = _("Restore of deleted keys"), came_back.of(stage)
    if not found:
        busy = any(restore.state == Restore.State.WRITING for restore in chain(*stage.written_back))
        return CertificateLine(what=what, said=_("The keys are being written back")) if busy else None
    last = found[-1].restore
    said_of_each = "\n".join(one.words for one in found)
    address = reverse("backups:restore", args=[last.pk])
    return CertificateLine(what=what, said=said_of_each, by=last.prepared_by, at=last.finished_at, url=address)


def _deletion(facts: CertificateFacts) -> Sequence[Callable[[CleanupStage], CertificateLine | None]]:
    return _writers, _hours, partial(_deleted, facts), partial(_empty, facts), _tested, _restored


def _code(facts: CertificateFacts, stage: CleanupStage) -> CertificateLine:
    """The approved answers to the places in the code, and what became of the follow-ups since."""
    what, references = _("Answer to each place in the code"), facts.references[stage.pk]
    address = reverse("backups:stage_references", args=[stage.pk])
    if not references or references["unanswered"]:
        return replace(_without_search(stage, what), url=address)
    last = max((one for one in references["answers"] if "kind" in one), key=lambda one: one["at"], default=None)
    by, at = (last["by"], datetime.fromisoformat(last["at"])) if last else ("", None)
    proof = CertificateLine(what=what, said=answers_in_words(references), by=by, at=at, url=address)
    return replace(proof, digest=references["answers_sha256"], digest_of=_("answers"))


def _backup_again(stage: CleanupStage) -> CertificateLine | None:
    return _again(stage, "backup", _("Compare the backup with D1 again"))


def _dataset_again(stage: CleanupStage) -> CertificateLine | None:
    return _again(stage, "dataset", _("Compare the dataset with D1 again")) if stage.request.needs_check else None


def _again(stage: CleanupStage, code: str, what: str) -> CertificateLine:
    if not stage.request.needs_check:
        return _not_needed(_("Check against D1 again"), _("The policy needs none for this category."))
    found = next((one for one in after_check.results(stage) if one.code == code), None)
    if found is None:
        return _nothing(what)
    check = found.check
    if check is None:
        needed = not found.not_applicable
        return CertificateLine(what=what, said=found.missing, missing=needed, not_applicable=not needed)
    address = reverse("backups:check", args=[check.pk])
    if found.unfinished:
        return CertificateLine(what=what, said=_("Missing: the check did not finish."), url=address, missing=True)
    note = ngettext("%(n)s difference with D1.", "%(n)s differences with D1.", check.differences)
    shown = note % {"n": spelled(check.differences)} if found.differs else _("No difference with D1.")
    if found.accepted:
        shown = f"{newer_rows.in_words(check)};\n{after_check.ACCEPTED}"
    proof = CertificateLine(what=what, said=shown, at=check.finished_at, url=address, wrong=found.differs)
    return replace(proof, digest=check.definition_digest, digest_of=_("rule of the dataset"))


def _eyes(stage: CleanupStage) -> CertificateLine | None:
    what, approval = _("Four eyes"), stage.approval
    if approval is None or approval.approver is None or reached(stage) < ORDER.index(State.APPROVED):
        return _without_keys(stage, what) or _nothing(what)
    both = {"requester": approval.requester, "approver": approval.approver}
    shown = _("Asked for by %(requester)s, approved by %(approver)s") % both
    accepted = "".join(f"\n{risks.sentence(risk, approval)}" for risk in risks.risks_of(approval))
    address = reverse("approval", args=[approval.pk])
    eyes = CertificateLine(what=what, said=f"{shown}{accepted}", at=approval.decided_at, url=address)
    return replace(eyes, digest=approval.digest, digest_of=_("approved content"))
