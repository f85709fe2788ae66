"""Holds on backups: pins, and the needs of clean-ups, restores and runs. Derived; nothing is stored.

The backup that a deletion relied on is held for good. One of a cache is held as long as the deletion may be undone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import Check, CleanupStage, Comparison, DrilledBackup, Generation, KeyChange, Pin, Restore
from backups.retention.decide import Hold
from kvops import timing
from kvops.models import Category, Run
from kvops.wording import say

State = CleanupStage.State


def holds_of(pks: Collection[int]) -> Mapping[int, Sequence[Hold]]:
    """The holds on each of these backups."""
    found: dict[int, list[Hold]] = defaultdict(list)
    for source in (_pins, _cleanups, _restores, _changes, _runs):
        for pk, hold in source(pks):
            found[pk].append(hold)
    return found


def _pins(pks: Collection[int]) -> Iterator[tuple[int, Hold]]:
    for pin in Pin.objects.in_force().filter(generation__in=pks).select_related("person").order_by("pk"):
        sentence = say(_("%(name)s pinned it: %(reason)s"), name=pin.person.name, reason=pin.reason)
        yield pin.generation_id, Hold(sentence, f"{reverse('backups:generation', args=[pin.generation_id])}#pins")


def _cleanups(pks: Collection[int]) -> Iterator[tuple[int, Hold]]:
    """Holds of clean-ups: an open one needs its backup, a deletion keeps it; for a cache, while it can be undone."""
    undoable = Q(run__finished_at__gt=Now() - timedelta(seconds=timing.UNDO_WITHIN))
    over = Q(state__in=[State.CONFIRMED, State.ACCEPTED])
    forgotten = over & Q(request__category=Category.CACHE) & ~undoable
    stages = CleanupStage.objects.filter(generation__in=pks).exclude(state=State.ENDED).exclude(forgotten)
    for stage in stages.select_related("request__family", "environment").order_by("pk"):
        done = stage.state not in CleanupStage.BEFORE_DELETION
        sentence = _("The deletion of %(what)s relied on it.") if done else _("The clean-up of %(what)s needs it.")
        yield stage.generation_id or 0, Hold(say(sentence, what=stage), reverse("backups:stage", args=[stage.pk]))


def _restores(pks: Collection[int]) -> Iterator[tuple[int, Hold]]:
    restores = Restore.objects.exclude(state__in=Restore.OVER)
    for restore in restores.filter(Q(generation__in=pks) | Q(safety__in=pks)).order_by("pk"):
        hold = Hold(say(_("Restore %(pk)s needs it."), pk=restore.pk), reverse("backups:restore", args=[restore.pk]))
        if restore.is_bulk:
            address = reverse("backups:bulk_change", args=[restore.pk])
            hold = Hold(say(_("Bulk change %(pk)s needs it."), pk=restore.pk), address)
        yield from ((pk, hold) for pk in (restore.generation_id, restore.safety_id) if pk is not None and pk in pks)


def _changes(pks: Collection[int]) -> Iterator[tuple[int, Hold]]:
    for change in KeyChange.objects.filter(generation__in=pks).exclude(state__in=KeyChange.OVER).order_by("pk"):
        hold = Hold(say(_("Change %(pk)s needs it."), pk=change.pk), reverse("backups:change", args=[change.pk]))
        yield change.generation_id or 0, hold


def _runs(pks: Collection[int]) -> Iterator[tuple[int, Hold]]:
    """Holds of runs: verifications, checks, drills and any other run about a backup."""
    about = Run.objects.open().filter(subject__in=[f"generation:{pk}" for pk in pks])
    pairs = [(int(run.subject.partition(":")[2]), run.pk) for run in about]
    verified = Generation.objects.filter(pk__in=pks, verify_run__state__in=Run.OPEN).values_list("pk", "verify_run")
    checked = Check.objects.filter(generation__in=pks, run__state__in=Run.OPEN).values_list("generation", "run")
    drilled = DrilledBackup.objects.filter(generation__in=pks, drill__run__state__in=Run.OPEN)
    compared = Comparison.objects.filter(other__in=pks, run__state__in=Run.OPEN).values_list("other", "run")
    pairs += verified.union(checked, drilled.values_list("generation", "drill__run"), compared)
    for pk, run in sorted(set(pairs)):
        yield pk, Hold(say(_("Run %(pk)s reads it."), pk=run), reverse("run", args=[run]))
