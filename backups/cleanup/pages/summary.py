"""The summary of a stage beside its card: the evidence in lines, the names by sub-prefix, and the last entries."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from audit.models import Entry
from backups.bucket import protection as bucket_protection
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.pages.groups import NameGroup, groups_of
from backups.integrity.newer import rows as newer_rows
from backups.models import BucketProtection, Check, CleanupStage, Generation
from kvops.references import deployed
from kvops.subjects import tree
from kvops.wording import spelled

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
    stage = facts.stage
    found = [_names(stage), *_same_as_before(facts)]
    if stage.names or not stage.frozen_at:
        found += [*_backup(facts), *_check(facts)]
        found += [] if stage.scheduled else [*_code(facts), *_shared(facts)]  # its rule was approved instead
    return found


def _names(stage: CleanupStage) -> SummaryLine:
    if not stage.frozen_at:
        return SummaryLine(fits=False, words=_("The list of keys is not fixed yet"))
    words = ngettext("%(n)s name, fixed", "%(n)s names, fixed", stage.names) % {"n": spelled(stage.names)}
    return SummaryLine(True, words, f"{reverse('backups:stage', args=[stage.pk])}?show=names#lists", _("see them"))


def _same_as_before(facts: StageFacts) -> list[SummaryLine]:
    """The names beside those of the environment before, by their digests; later clean-ups say nothing about it."""
    stage = facts.stage
    if not stage.names_sha256 or vars(stage)["is_first"]:
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


def _backup(facts: StageFacts) -> list[SummaryLine]:
    backup = facts.stage.generation
    if backup is None:
        return [SummaryLine(fits=False, words=_("There is no backup yet"))]
    figures = {"pk": backup.pk, "state": backup.get_status_display()}
    address = reverse("backups:generation", args=[backup.pk])
    verified = backup.status == Generation.Status.VERIFIED and backup.is_here
    lines = [SummaryLine(verified, _("Backup %(pk)s: %(state)s") % figures, address, _("see it"))]
    if backup.finished_at:
        held = bucket_protection.lock_of(backup, facts.protection) == BucketProtection.Lock.HELD
        words = _("Locked by R2 for its retention") if held else _("No lock of R2 is known for its retention")
        lines.append(SummaryLine(held, words, address, _("see it")))
    return lines


def _check(facts: StageFacts) -> list[SummaryLine]:
    stage = facts.stage
    if not stage.request.needs_check:
        return []
    check = stage.check_passed
    if check is None:
        return [
            _differing(facts.differing)
            if facts.differing
            else SummaryLine(fits=False, words=_("Not yet compared with D1"))
        ]
    figures = {"keys": spelled(check.keys), "rows": spelled(check.rows), "name": check.dataset.name}
    words = _("No difference with %(name)s. Keys: %(keys)s, rows: %(rows)s") % figures
    if check.outcome != Check.Outcome.PASSED:
        words = newer_rows.in_words(check)
    return [SummaryLine(True, words, reverse("backups:check", args=[check.pk]), _("see it"))]


def _differing(check: Check) -> SummaryLine:
    words = ngettext("%(n)s difference with D1.", "%(n)s differences with D1.", check.differences)
    address = reverse("backups:check", args=[check.pk])
    return SummaryLine(False, words % {"n": spelled(check.differences)}, address, _("see it"))


def _code(facts: StageFacts) -> list[SummaryLine]:
    stage, found = facts.stage, facts.references
    address = reverse("backups:stage_references", args=[stage.pk])
    words = found.in_words if found.done else found.wanting
    lines = [
        SummaryLine(found.done and not found.follow_ups, _("Code: %(words)s") % {"words": words}, address, _("see it"))
    ]
    if found.search:
        running = deployed.state(found.search, stage.namespace, *found.searches[1:], known=found.known)
        page = reverse("deployed-code", args=[stage.environment.slug])
        lines += [SummaryLine(False, reason, page, _("see it")) for reason in running.reasons[:1]]
    return lines


def _shared(facts: StageFacts) -> list[SummaryLine]:
    if facts.stage.generation_id is None:
        return []
    if facts.share is None:
        return [SummaryLine(fits=False, words=_("Not yet shared with the team"))]
    return [SummaryLine(True, _("Shared: %(place)s") % {"place": facts.share.place})]
