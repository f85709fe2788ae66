"""The summary of a stage beside its card: the evidence in lines, the names by sub-prefix, and the last entries."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from audit.models import Entry
from backups.bucket import protection as bucket_protection
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.pages.groups import NameGroup, groups_of
from backups.cleanup.proofs import Proof, StageStep, proofs
from backups.models import BucketProtection, CleanupStage
from kvops.references import deployed
from kvops.subjects import tree

ENTRIES = 6


@dataclass(frozen=True)
class SummaryLine:
    """A line of the evidence: whether it is as it must be, its words, and the page with its proof."""

    fits: bool
    words: str
    url: str = ""
    link: str = ""


@dataclass(frozen=True)
class Summary:
    """The summary of a stage; the whole audit log of the stage has more entries."""

    evidence: Sequence[SummaryLine]
    groups: Sequence[NameGroup]
    entries: Sequence[Entry]


def summary_of(facts: StageFacts) -> Summary:
    """The summary of a stage with its related rows."""
    stage = facts.stage
    entries = list(tree.entries_under(f"stage:{stage.pk}")[:ENTRIES])
    return Summary(_evidence(facts), groups_of(stage), entries)


def _evidence(facts: StageFacts) -> list[SummaryLine]:
    """The steps of the preparation, and every reason to look twice."""
    done = [proof for proof in proofs(facts) if proof.phase == 0 and proof.step != StageStep.SUBMITTED]
    lines = [_line(proof, facts) for proof in done if proof.state != "todo"]
    return [*lines[:1], *_same_as_before(facts), *lines[1:], *_locked(facts), *_code(facts)]


def _line(proof: Proof, facts: StageFacts) -> SummaryLine:
    fits = proof.state == "done" and not (proof.step == StageStep.REFERENCES and facts.references.follow_ups)
    words = " · ".join(filter(None, [proof.title, proof.note]))
    return SummaryLine(fits, words, proof.url, proof.link or _("see it"))


def _same_as_before(facts: StageFacts) -> list[SummaryLine]:
    """The names beside those of the environment before, by their digests; later clean-ups say nothing about it."""
    stage = facts.stage
    if not stage.names_sha256 or facts.read.is_first:
        return []
    found = []
    restored = facts.turn.brought_back
    proven = facts.turn.proven if stage.state in CleanupStage.BEFORE_DELETION else facts.turn.own
    for before in [*(one for one in proven if one not in restored), *restored]:
        same = before.names_sha256 == stage.names_sha256
        sentence = _("The same names as in %(name)s") if same else _("Other names than in %(name)s")
        if before in restored:
            same = False
            sentence += _(", where deleted keys were restored since")
        address = reverse("approval", args=[stage.approval_id]) if stage.approval_id else ""
        link = address or reverse("backups:stage", args=[before.pk])
        found.append(SummaryLine(same, sentence % {"name": before.environment.name}, link, _("compare")))
    return found


def _locked(facts: StageFacts) -> list[SummaryLine]:
    backup = facts.stage.generation
    if backup is None or not backup.finished_at:
        return []
    address = reverse("backups:generation", args=[backup.pk])
    if not backup.is_here:
        return [SummaryLine(False, _("The backup is in another bucket"), address, _("see it"))]
    held = bucket_protection.lock_of(backup, facts.protection) == BucketProtection.Lock.HELD
    words = _("Locked by R2 for its retention") if held else _("No lock of R2 is known for its retention")
    return [SummaryLine(held, words, address, _("see it"))]


def _code(facts: StageFacts) -> list[SummaryLine]:
    """The reason why other code may run than the one that was searched."""
    stage = facts.stage
    if stage.scheduled or not stage.names:  # the rule of a scheduled clearing was approved instead
        return []
    found = facts.references
    if found.search is None:
        return []
    running = deployed.state(found.search, stage.namespace, *found.searches[1:], known=found.known)
    page = reverse("deployed-code", args=[stage.environment.slug])
    return [SummaryLine(False, reason, page, _("see it")) for reason in running.reasons[:1]]
