"""Clean-up requests: one stage per environment, in order, each move one conditional UPDATE and one audit entry.

An operator opens the request, prepares each stage (`preparation`) and submits it with its evidence (`evidence`).
Another person approves. The operator starts the deletion (`deletion.run`), which is proven (`deletion.proof`), and
accepts the stage (`completion`).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import policy
from backups.bucket import protection as bucket_protection
from backups.cleanup import evidence as cleanup_evidence, qa, references as code_references, sharing, shown_references
from backups.cleanup.stages import (
    STAGES,
    By,
    CleanupRefused,
    backup_is_fresh,
    doer,
    insist_check,
    insist_idle,
    insist_names,
    insist_no_round,
    insist_operator,
    insist_turn,
    insist_writable,
    locked,
    policy_changed,
    why_not_now,
)
from backups.datasets import registry as dataset_registry
from backups.models import CleanupRequest, CleanupStage, Generation
from kvops.inventory import families as key_families
from kvops.inventory.selection import EVERYTHING, Selection
from kvops.models import ApprovalRequest, Category, Family, Namespace, Person, Run
from kvops.names import visible
from kvops.prefixes import patterns
from kvops.references import look
from kvops.runbook import procedures
from kvops.wording import Words, columns, english, insist_explained, moment, say

State = CleanupStage.State
decided = STAGES.decided
UNSUBMITTED = (*code_references.BEFORE_SUBMIT, State.ACCEPTED)


def request(
    *, binding: str, prefix: str, reason: str, by: By, exact: bool = False, only: Selection = EVERYTHING
) -> CleanupRequest:
    """Ask for the clean-up of one family, of a prefix of it, or of one key, in every environment with the binding.

    With `exact`, `prefix` is the whole name of the key; for settings `exact` is required. `only` chooses some keys of a
    cache. Raises CleanupRefused and SelectionRefused.
    """
    with log.transaction():
        return create_request(binding=binding, prefix=prefix, reason=reason, by=by, exact=exact, only=only)


def _without_family(binding: str, prefix: str) -> Words:
    sentence = _("“%(prefix)s” is not classified, so it is not deleted. Classify it in the policy first.")
    if Family.objects.filter(binding=binding, pattern__startswith=prefix).exists():
        sentence = _("“%(prefix)s” is not one family: families begin with it. Choose one of them.")
    return say(sentence, prefix=prefix)


def create_request(
    *, binding: str, prefix: str, reason: str, by: By, exact: bool = False, only: Selection = EVERYTHING
) -> CleanupRequest:
    """Create the request within the caller's `audit.log.transaction()`. Raises CleanupRefused and SelectionRefused."""
    log.insist()
    insist_writable()
    insist_explained(reason, CleanupRefused, _("Say why these keys are deleted: the person who approves reads it."))
    if edited := policy.why_edited():
        raise CleanupRefused(edited)
    family = key_families.family_of(binding, prefix)
    if family is None:
        raise CleanupRefused(_without_family(binding, prefix))
    exact = exact or (family.exact and prefix == family.pattern)
    if family.category == Category.SETTINGS and not exact:
        raise CleanupRefused(
            say(
                _("%(family)s keys are settings: they are deleted one at a time. Enter the full name of one key."),
                family=family,
            )
        )
    if family.category == "legacy" and dataset_registry.dataset_for(binding, prefix) is None:
        raise CleanupRefused(
            say(
                _("%(family)s has no dataset, so it cannot be checked against D1. Add one to the policy first."),
                family=family,
            )
        )
    only.insist_clear()
    if only != EVERYTHING and (exact or family.category != Category.CACHE):
        raise CleanupRefused(_("Only keys of a cache are chosen by their expiration or metadata."))
    namespaces = list(
        Namespace.objects.filter(binding=binding).select_related("environment").order_by("environment__order")
    )
    if not namespaces:
        raise CleanupRefused(say(_("No environment has the binding %(binding)s."), binding=binding))
    # The environments are in order: if production is first, no environment comes before it.
    if namespaces[0].environment.production:
        raise CleanupRefused(qa.only_production(binding))
    insist_operator(by)
    by_hand = CleanupRequest.objects.filter(clearing=None)
    already = by_hand.filter(binding=binding, family=family, ended_at=None, completed_at=None).first()
    if already is not None:
        sentence = _(
            "A clean-up of %(family)s is already open. A family has one at a time: finish that one, "
            "or end it on its page."
        )
        raise CleanupRefused(say(sentence, family=visible(already.pattern)))
    actor, person = doer(by)
    made = CleanupRequest.objects.create(
        binding=binding,
        prefix=prefix,
        exact=exact,
        only=only.as_data(),
        family=family,
        category=family.category,
        reason=reason,
        requested_by=person,
        asked_by="" if person else actor.text,
    )
    for order, namespace in enumerate(namespaces, 1):
        CleanupStage.objects.create(request=made, environment=namespace.environment, namespace=namespace, order=order)
    log.record(
        Action.CLEANUP_REQUESTED,
        actor=actor,
        subject=f"cleanup:{made.pk}",
        subject_label=str(made),
        details={
            "reason": reason[:500],
            **({"only": only.as_data()} if only != EVERYTHING else {}),  # type: ignore[dict-item]  # JSON of a column
            **procedures.begun("cleanup", binding, [prefix]),
        },
    )
    return made


def open_stage(namespace: Namespace, *, prefix: str, reason: str, by: By) -> CleanupStage:
    """The stage of the namespace's environment in the open clean-up of exactly this prefix, else in a new clean-up.

    Raises CleanupRefused, also if it is not the environment's turn; then no clean-up is created.
    """
    with log.transaction():
        mine = CleanupRequest.objects.filter(
            binding=namespace.binding, prefix=prefix, only={}, clearing=None, ended_at=None, completed_at=None
        )
        asked = mine.first() or create_request(binding=namespace.binding, prefix=prefix, reason=reason, by=by)
        stage = locked(asked.stages.get(environment=namespace.environment))
        insist_turn(stage)
    return stage


def record_refusal_of_cleanup(namespace: Namespace, prefix: str, refusal: CleanupRefused, *, actor: log.Actor) -> None:
    """Record the refusal of a clean-up's preparation; the caller reports it."""
    family = key_families.family_of(namespace.binding, prefix)
    (shown,) = patterns([prefix], exact=family is not None and family.exact and prefix == family.pattern)
    log.refusal(
        Action.REFUSED,
        actor=actor,
        environment=namespace.environment.slug,
        subject=f"namespace:{namespace.pk}",
        subject_label=f"{namespace} {visible(shown)}"[:200],
        details={"reason": english(refusal)[:500]},
    )


def arrange(cleanup: CleanupRequest, *, ticket: str, frozen_until: datetime | None, frozen_by: str, by: Person) -> None:
    """Record the ticket, and until when the writers are frozen; both are part of the evidence of every later submit."""
    with log.transaction():
        insist_operator(by)
        if not CleanupRequest.objects.select_for_update().get(pk=cleanup.pk).is_open:
            raise CleanupRefused(_("The clean-up is over."))
        if cleanup.stages.exclude(state__in=UNSUBMITTED).exists():
            raise CleanupRefused(_("A stage was already submitted with the earlier fields. Withdraw it first."))
        values = {"ticket": ticket, "frozen_until": frozen_until, "frozen_by": frozen_by}
        CleanupRequest.objects.filter(pk=cleanup.pk).update(**values)
        log.record(
            Action.CLEANUP_ARRANGED,
            actor=by.actor,
            subject=f"cleanup:{cleanup.pk}",
            subject_label=str(cleanup),
            details={"ticket": ticket, "frozen_until": english(moment(frozen_until)), "frozen_by": frozen_by},
        )


def submit(stage: CleanupStage, *, by: Person, ticked: bool = False) -> ApprovalRequest:
    """Ask another person to approve exactly these names: checked (a cache: verified) -> submitted.

    Cloudflare is asked for the deployed code first. `ticked` says that the person checked the answers of another
    environment. Raises CleanupRefused.
    """
    insist_operator(by)
    answered = look.ask_when_due(stage.environment)
    with log.transaction():
        insist_operator(by)
        mine = locked(stage)
        insist_turn(mine)
        insist_idle(mine)
        ready = State.CHECKED if mine.request.needs_check else State.VERIFIED
        if mine.state != ready:
            raise CleanupRefused(say(_("The stage is not ready to submit: %(state)s."), state=State(mine.state).label))
        code_references.insist_references(mine)
        code_references.insist_ticked(mine, ticked=ticked)
        try:
            shown_references.insist_answered(mine, answered=answered)
        except shown_references.DeployedNotKnown as refused:
            raise CleanupRefused(*refused.args) from refused
        if not backup_is_fresh(mine):
            raise CleanupRefused(_("The backup was verified too long ago. Verify it again."))
        sharing.insist_shared(mine)
        insist_names(mine)
        if ready == State.CHECKED:
            insist_check(mine)
        mine.scope_digest = qa.scope_digest(mine)
        return STAGES.submit(
            mine,
            ready,
            title=cleanup_evidence.title(mine),
            evidence=cleanup_evidence.build(mine),
            by=by,
            values={
                "scope_digest": mine.scope_digest,
                "search": code_references.search_of(mine),
                **columns("returned_because", ""),
            },
        )


def _why_stale(stage: CleanupStage) -> tuple[str, str]:
    """The reason why the approval no longer fits, and the same with the next step."""
    why = (policy_changed(stage.approval) if stage.approval else "") or _what_else_changed(stage)
    return why, say(_("%(why)s Prepare the stage again."), why=why)


def _what_else_changed(stage: CleanupStage) -> str:
    backup, approved = stage.generation, _approved(stage)
    if backup is None or not Generation.objects.verified().filter(pk=backup.pk).exists():
        return say(_("The backup is no longer verified."))
    same = approved["namespace_id"] == stage.namespace.namespace_id
    if same and (changed := shown_references.changed(stage) or cleanup_evidence.lock_changed(backup, approved["lock"])):
        return changed
    return say(_("The keys to delete differ from the approved ones."))


def _approved(stage: CleanupStage) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(stage.approval.evidence) if stage.approval else {}
    return found


def _insist_known(stage: CleanupStage) -> None:
    approved = _approved(stage)
    try:
        if stage.generation:
            bucket_protection.insist_known(stage.generation, approved["lock"])
        shown_references.insist_known(stage, approved["references"])
    except (bucket_protection.NotKnown, shown_references.DeployedNotKnown) as refused:
        raise CleanupRefused(*refused.args) from refused


def start_deletion(stage: CleanupStage, *, by: Person) -> Run:
    """Approved -> deleting: claim the approval and create the run in one transaction.

    Cloudflare is asked for the deployed code first. Raises CleanupRefused and ApprovalRefused if a right, the time or
    the evidence is no longer valid; then nothing is started. Stale evidence also moves the stage back to frozen.
    """
    insist_operator(by)
    look.ask_when_due(stage.environment)
    return STAGES.start(
        stage,
        by=by,
        lock=locked,
        insist=_insist_startable,
        derive=_digest,
        stale=_why_stale,
        total=lambda mine: mine.names,
    )


def _insist_startable(stage: CleanupStage) -> None:
    if not_now := why_not_now(stage):
        raise CleanupRefused(not_now)
    insist_turn(stage)
    insist_no_round(stage)
    insist_names(stage)


def _digest(stage: CleanupStage) -> str:
    """The digest of the evidence. Raises CleanupRefused while the lock or the deployed code is not known."""
    _insist_known(stage)
    digest = cleanup_evidence.evidence_digest(stage)
    if stage.approval and digest == stage.approval.digest:
        code_references.insist_references(stage)
    else:
        # An answer of Cloudflare that grew too old since the first look is no change, so the approval stays.
        _insist_known(stage)
    return digest
