"""The certificate of a clean-up: the proofs of its stages by the rules of the policy.

It is derived from stored rows, also for a clean-up that is open, ended or undone; its head says so. A step without a
proof is a line that says so. `certificate_files` has it as JSON and as Markdown.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from backups.cleanup import after_check, evidence as cleanup_evidence, proofs
from backups.cleanup.certificate_files import (
    Certificate,
    CertificateEnvironment,
    CertificateFacts,
    CertificateSection,
    answers_in_words,
    references_in_words,
)
from backups.cleanup.pages import came_back, result as cleanup_result
from backups.cleanup.proofs import ORDER, Proof, StageStep, reached
from backups.integrity.newer import rows as newer_rows
from backups.models import CleanupRequest, CleanupStage, Generation, Restore
from kvops.approvals import risks
from kvops.approvals.evidence import follow_ups, follow_ups_open
from kvops.names import visible
from kvops.wording import moment, said, spelled

State = CleanupStage.State


def build(cleanup: CleanupRequest, facts: CertificateFacts | None = None) -> Certificate:
    """The certificate of the clean-up as it is now."""
    facts = facts or CertificateFacts(cleanup.pk)
    of_stages = [(stage.environment.name, _proofs(facts, stage)) for stage in facts.stages]
    titles = {
        "5.1": _("Keys and code references"),
        "5.2": _("Backup to R2"),
        "5.3": _("Deletion: QA, then production"),
        "5.4": _("Code"),
        "6": _("Check after the clean-up, and four eyes"),
    }
    sections = [
        CertificateSection(
            rule, title, [replace(one, environment=name) for name, rules in of_stages for one in rules[rule] if one]
        )
        for rule, title in titles.items()
    ]
    result = cleanup_result.Result(cleanup, facts.stages)
    words = " ".join(filter(None, [result.words, _follow_ups(facts)]))
    return Certificate(cleanup, words, result.is_complete, list(map(_environment, facts.stages)), sections)


def _shared(stage: CleanupStage) -> Proof | None:
    return proofs.shared(stage, getattr(stage.generation, "share", None), str)


def _proofs(facts: CertificateFacts, stage: CleanupStage) -> dict[str, Sequence[Proof | None]]:
    """The proofs of a stage by the rules of the policy, and the steps that lack one."""

    def found(step: StageStep, prove: Callable[[CleanupStage], Proof | None]) -> Proof:
        return prove(stage) or _lacking(stage, step)

    return {
        "5.1": [
            found(StageStep.NAMES, proofs.names) if stage.frozen_at else _missing(StageStep.NAMES),
            _search(facts, stage),
        ],
        "5.2": [
            found(StageStep.BACKUP, proofs.backup),
            _verified(facts, stage),
            found(StageStep.CHECKED, _checked) if stage.request.needs_check else _needs_no_check(StageStep.CHECKED),
            found(StageStep.SHARED, _shared),
        ],
        "5.3": [
            _writers(stage),
            _hours(stage),
            found(StageStep.DELETED, lambda _stage: _deleted(facts, stage)),
            _gone(facts, stage) or _missing(StageStep.GONE),
            proofs.tested(stage) or _missing(StageStep.TESTED),
            _restored(stage),
        ],
        "5.4": [_code(facts, stage)],
        "6": [*_again(stage), found(StageStep.APPROVED, _eyes)],
    }


def _missing(step: StageStep, words: str = "") -> Proof:
    return Proof(step, words or _("Missing: this was not done."), state="missing")


def _not_needed(step: StageStep, why: str) -> Proof:
    return Proof(step, why, state="not_applicable")


def _needs_no_check(step: StageStep) -> Proof:
    return _not_needed(step, _("The policy needs none for this category."))


def _lacking(stage: CleanupStage, step: StageStep) -> Proof:
    """The step without a proof; not applicable to a stage that had nothing to back up, share or delete."""
    empty = stage.frozen_at and stage.names == 0
    return _not_needed(step, _("There were no keys.")) if empty else _missing(step)


def _follow_ups(facts: CertificateFacts) -> str:
    """The approved follow-ups that are open today, as a sentence; empty without one."""
    found = follow_ups_open({"follow_ups": follow_ups(facts.open_follow_ups())})
    return f"{found}." if found else ""


def in_english(cleanup: CleanupRequest, facts: CertificateFacts | None = None) -> Certificate:
    """The certificate in English, of which the digest is made."""
    with translation.override("en"):
        return build(cleanup, facts)


def _environment(stage: cleanup_result.CountedStage) -> CertificateEnvironment:
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
        kept=None if deleted is None else stage.kept,
        proven=stage.deleted if proven else None,
        left=stage.remaining if proven else None,
    )


def _search(facts: CertificateFacts, stage: CleanupStage) -> Proof:
    """The search of the code for the keys, as it was approved."""
    references = facts.references[stage.pk]
    if not references:
        return _without_search(stage, StageStep.SEARCH)
    search = references["search"]
    at, url = datetime.fromisoformat(search["searched_at"]), reverse("backups:stage_references", args=[stage.pk])
    proof = Proof(StageStep.SEARCH, references_in_words(references), at, url, by=facts.searches[search["id"]].made_by)
    return replace(proof, digest=search["digest"], digest_of=_("report of the search"))


def _without_search(stage: CleanupStage, step: StageStep) -> Proof:
    if stage.state == State.ENDED:
        return _missing(step, _("Missing: the stage ended before it was submitted."))
    return _lacking(stage, step)


def _code(facts: CertificateFacts, stage: CleanupStage) -> Proof:
    """The approved answers to the places in the code, and what became of the follow-ups since."""
    references, url = facts.references[stage.pk], reverse("backups:stage_references", args=[stage.pk])
    if not references or references["unanswered"]:
        return replace(_without_search(stage, StageStep.REFERENCES), url=url)
    last = max((one for one in references["answers"] if "kind" in one), key=lambda one: one["at"], default=None)
    by, at = (last["by"], datetime.fromisoformat(last["at"])) if last else ("", None)
    proof = Proof(StageStep.REFERENCES, answers_in_words(references), at, url, by=by)
    return replace(proof, digest=references["answers_sha256"], digest_of=_("answers"))


def _verified(facts: CertificateFacts, stage: CleanupStage) -> Proof:
    """The last verification before the stage was accepted, and what was found since."""
    generation, entry = stage.generation, facts.verified[stage.pk]
    if generation is None or entry is None:
        return _lacking(stage, StageStep.VERIFIED)
    proof = Proof(StageStep.VERIFIED, proofs.same_as_kv(), entry.at, entry.get_absolute_url(), by=entry.actor)
    if generation.status != Generation.Status.DAMAGED:
        return proof
    if stage.accepted_at:
        since = _("damaged since: %(problem)s") % {"problem": generation.shown_problem}
        return replace(proof, more=f";\n{since}")
    return replace(proof, words=proofs.damaged(generation), state="wrong")


def _checked(stage: CleanupStage) -> Proof | None:
    """The comparison before the deletion, with the grounds on which the reviewer accepted newer rows."""
    proof = proofs.checked(stage)
    newer = json.loads(stage.approval.evidence)["check"].get("newer") if proof and stage.approval else None
    return replace(proof, more=f";\n{newer_rows.grounds_in_words(newer)}") if proof and newer else proof


def _writers(stage: CleanupStage) -> Proof:
    frozen = cleanup_evidence.submitted(stage)["writers_frozen"]
    if not frozen["until"]:
        return _not_needed(StageStep.WRITERS, _("No writers were frozen."))
    until = _("until %(until)s") % {"until": moment(datetime.fromisoformat(frozen["until"]))}
    return Proof(StageStep.WRITERS, until, by=frozen["by"])


def _hours(stage: CleanupStage) -> Proof:
    hours = cleanup_evidence.submitted(stage)["hours"]
    if not hours["hours"]:
        return _not_needed(StageStep.HOURS, _("The environment allows every hour."))
    return Proof(StageStep.HOURS, f"{hours['hours']} {hours['days']} {hours['time_zone']}".replace("  ", " "))


def _deleted(facts: CertificateFacts, stage: CleanupStage) -> Proof | None:
    """The deletion, with the reasons of the keys that were left out."""
    proof, reasons = proofs.deleted(stage), facts.left_out[stage.pk]
    left_out = f" ({'; '.join(reasons)})" if reasons else ""
    note = f". {stage.leftovers_note}" if stage.leftovers_note else ""
    return replace(proof, more=left_out + note) if proof else None


def _gone(facts: CertificateFacts, stage: CleanupStage) -> Proof | None:
    """The proof by two listings, with the first other keys under the prefix by name."""
    proof = proofs.gone(stage)
    if proof is None:
        return None
    names, more = facts.other_names[stage.pk], ""
    if names:
        others = _("Other keys: %(names)s") % {"names": ", ".join(map(visible, names))}
        left = stage.others - len(names)
        more = f". {others}" + (f" {_('and %(n)s more') % {'n': spelled(left)}}" if left else "")
    return replace(proof, more=f"{more}. {said(stage.others_note)}" if stage.others_note else more)


def _restored(stage: CleanupStage) -> Proof | None:
    """The restores that wrote deleted keys back, if there were any, with the person who prepared the last one."""
    found = came_back.of(stage)
    if not found:
        busy = any(restore.state == Restore.State.WRITING for restore in chain(*stage.written_back))
        return Proof(StageStep.RESTORE, _("The keys are being written back")) if busy else None
    last, words = found[-1].restore, "\n".join(one.words for one in found)
    url = reverse("backups:restore", args=[last.pk])
    return Proof(StageStep.RESTORE, words, last.finished_at, url, by=last.prepared_by)


def _again(stage: CleanupStage) -> Sequence[Proof]:
    """The comparisons after the deletion."""
    if not stage.request.needs_check:
        return [_needs_no_check(StageStep.BACKUP_AGAIN)]
    found = after_check.results(stage)
    return [_compared_again(one) for one in found] or [
        _missing(StageStep.BACKUP_AGAIN),
        _missing(StageStep.DATASET_AGAIN),
    ]


def _compared_again(found: after_check.AfterCheck) -> Proof:
    proof, check = proofs.compared_again(found), found.check
    if check is None:
        return replace(proof, state="not_applicable" if found.not_applicable else "missing")
    if found.unfinished:
        url = reverse("backups:check", args=[check.pk])
        return replace(_missing(proof.step, _("Missing: the check did not finish.")), url=url)
    return replace(proof, state="wrong") if found.differs else proof


def _eyes(stage: CleanupStage) -> Proof | None:
    """The decision of another person, with the risks that the reviewer accepted."""
    proof, approval = proofs.eyes(stage), stage.approval
    accepted = "".join(f"\n{risks.sentence(risk, approval)}" for risk in risks.risks_of(approval)) if approval else ""
    return replace(proof, more=accepted) if proof else None
