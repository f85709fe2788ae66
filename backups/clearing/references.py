"""Code that writes or deletes keys of a rule, and people's answers to it.

A cache is written by its application, so each such place is answered once. A place that is newer than the standing
approval and has no answer stops the rule: the reviewer did not know of it.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.cleanup import references as code_references
from backups.cleanup.references import StageHit
from backups.cleanup.stages import CleanupRefused
from backups.clearing import rules
from backups.clearing.rules import ClearingRefused
from backups.models import Clearing
from kvops.models import Person, ReferenceAnswer, ReferenceHit, ReferenceSearch, Role
from kvops.references import store
from kvops.wording import insist_explained

WRITING = (ReferenceHit.Access.WRITE, ReferenceHit.Access.DELETE)
KINDS = (ReferenceAnswer.Kind.UNRELATED, ReferenceAnswer.Kind.FALLS_BACK)
"""The answers to a place that stays. A change of the code is a follow-up, which a clean-up asks for."""


def writers(clearing: Clearing) -> list[StageHit]:
    """The places in the newest searches that write or delete keys of the rule: those without an answer first.

    In production an answer of another environment is none: nobody ticks it before a round.
    """
    stage = rules.stage_of(clearing, rules.request_of(clearing))
    found = [one for one in code_references.hits_of(stage, _searches(clearing)) if one.hit.access in WRITING]
    mine = [replace(one, answer=None, elsewhere=False) if one.elsewhere else one for one in found]
    return sorted(mine, key=lambda one: one.answer is not None)


def _searches(clearing: Clearing) -> list[ReferenceSearch]:
    return code_references.with_others(store.newest(clearing.namespace.environment))


def smaller_since(clearing: Clearing, since: datetime) -> ReferenceSearch | None:
    """A search that counts, arrived after this time and has fewer files or places than an earlier one.

    It hides nothing if a search of the whole checkout of the same commit counts too.
    """
    searches = _searches(clearing)
    whole = {one.commit for one in searches if one.fewer_than_id is None}
    small = (one for one in searches if one.fewer_than_id and one.commit not in whole)
    return next((one for one in small if one.at > since), None)


def unanswered_since(clearing: Clearing, since: datetime) -> list[StageHit]:
    """The places without an answer that no search knew at this time."""
    left = [one for one in writers(clearing) if one.answer is None]
    known = ReferenceHit.objects.filter(
        fingerprint__in={one.hit.fingerprint for one in left},
        search__environment=clearing.namespace.environment,
        search__searched_at__lte=since,
    )
    fingerprints = set(known.values_list("fingerprint", flat=True))
    return [one for one in left if one.hit.fingerprint not in fingerprints]


def answer(clearing: Clearing, *, hits: Collection[int], kind: str, reason: str, by: Person) -> None:
    """Record a person's answer to these places. Raises ClearingRefused."""
    with log.transaction():
        if not by.holds(Role.OPERATOR):
            raise ClearingRefused(_("Only an operator can do this."))
        if kind not in KINDS:
            raise ClearingRefused(_("Choose an answer."))
        insist_explained(reason, ClearingRefused, _("Give the reason for your answer: the reviewer reads it."))
        chosen = [one for one in writers(clearing) if one.hit.pk in set(hits)]
        if not chosen or len(chosen) != len(set(hits)):
            raise ClearingRefused(_("These hits are not of the newest search for these keys. Load the page again."))
        try:
            code_references.insist_may_be(kind, chosen)
        except CleanupRefused as refused:
            raise ClearingRefused(*refused.args) from refused
        ReferenceAnswer.objects.bulk_create(
            ReferenceAnswer(
                family=clearing.family,
                hit=one.hit,
                fingerprint=one.hit.fingerprint,
                kind=kind,
                reason=reason.strip(),
                by=by,
            )
            for one in chosen
        )
        log.record(
            Action.CLEARING_ANSWERED,
            actor=by.actor,
            environment=clearing.namespace.environment.slug,
            subject=clearing.subject,
            subject_label=str(clearing)[:200],
            details={"places": [one.place[:300] for one in chosen[:20]], "kind": kind, "reason": reason.strip()[:500]},
        )
