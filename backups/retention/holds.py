"""Holds on backups: pins, and the needs of clean-ups, restores and runs. Derived; nothing is stored.

The backup that a deletion relied on is held for good. One of a cache is held as long as the deletion may be undone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from itertools import chain
from typing import Any

from django.db.models import BigIntegerField, F, IntegerField, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Now, Substr
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import Check, CleanupStage, Comparison, DrilledBackup, Generation, KeyChange, Pin, Restore
from backups.retention.decide import Hold
from kvops import timing
from kvops.models import Category, Run
from kvops.wording import say

State = CleanupStage.State
_ABOUT = "generation:"


class _Kind(IntEnum):
    """The kinds of holds, in the order in which a page names them."""

    PIN = 0
    CLEANUP = 1
    RESTORE = 2
    CHANGE = 3
    RUN = 4


type _Held = tuple[int, int, int, Hold]
"""The kind of a hold, the row that holds, the backup, and the hold."""


def holds_of(pks: Collection[int]) -> Mapping[int, Sequence[Hold]]:
    """The holds on each of these backups, in two queries: one of the clean-ups, and one of everything else."""
    found: dict[int, list[Hold]] = defaultdict(list)
    for _kind, _row, pk, hold in sorted(chain(_cleanups(pks), _others(pks)), key=lambda held: held[:3]):
        found[pk].append(hold)
    return found


def _cleanups(pks: Collection[int]) -> Iterator[_Held]:
    """Holds of clean-ups: an open one needs its backup, a deletion keeps it; for a cache, while it can be undone."""
    undoable = Q(run__finished_at__gt=Now() - timedelta(seconds=timing.UNDO_WITHIN))
    over = Q(state__in=[State.CONFIRMED, State.ACCEPTED])
    forgotten = over & Q(request__category=Category.CACHE) & ~undoable
    stages = CleanupStage.objects.filter(generation__in=pks).exclude(state=State.ENDED).exclude(forgotten)
    for stage in stages.select_related("request__family", "environment"):
        done = stage.state not in CleanupStage.BEFORE_DELETION
        sentence = _("The deletion of %(what)s relied on it.") if done else _("The clean-up of %(what)s needs it.")
        hold = Hold(say(sentence, what=stage), reverse("backups:stage", args=[stage.pk]))
        yield _Kind.CLEANUP, stage.pk, stage.generation_id or 0, hold


def _others(pks: Collection[int]) -> Iterator[_Held]:
    """Holds of pins, restores, changes, and runs: verifications, checks, drills and any other run about a backup."""
    restores = Restore.objects.exclude(state__in=Restore.OVER)
    changes = KeyChange.objects.filter(generation__in=pks).exclude(state__in=KeyChange.OVER)
    about = Run.objects.open().filter(subject__in=[f"{_ABOUT}{pk}" for pk in pks])
    verified = Generation.objects.filter(pk__in=pks, verify_run__state__in=Run.OPEN)
    checked = Check.objects.filter(generation__in=pks, run__state__in=Run.OPEN)
    drilled = DrilledBackup.objects.filter(generation__in=pks, drill__run__state__in=Run.OPEN)
    compared = Comparison.objects.filter(other__in=pks, run__state__in=Run.OPEN)
    named = Cast(Substr("subject", len(_ABOUT) + 1), BigIntegerField())
    pinned = Pin.objects.in_force().filter(generation__in=pks)
    rows = _rows(_Kind.PIN, pinned, F("generation"), first=Cast("person__name", TextField()), second=F("reason")).union(
        _rows(
            _Kind.RESTORE, restores.filter(generation__in=pks), F("generation"), first=Cast("operation", TextField())
        ),
        _rows(_Kind.RESTORE, restores.filter(safety__in=pks), F("safety"), first=Cast("operation", TextField())),
        _rows(_Kind.CHANGE, changes, F("generation")),
        _rows(_Kind.RUN, about, named),
        _rows(_Kind.RUN, verified, F("pk"), by="verify_run"),
        _rows(_Kind.RUN, checked, F("generation"), by="run"),
        _rows(_Kind.RUN, drilled, F("generation"), by="drill__run"),
        _rows(_Kind.RUN, compared, F("other"), by="run"),
    )
    for kind, row, pk, first, second in rows:
        yield kind, row, pk, _hold(kind, row, pk, first, second)


def _rows(
    kind: int, found: QuerySet[Any], backup: Any, *, by: str = "pk", first: Any = None, second: Any = None
) -> QuerySet[Any, Any]:
    """The kind, the row that holds, the backup, and two texts. A row that is found twice holds once."""
    empty = Value("", TextField())
    told = {"hold_first": first or empty, "hold_second": second or empty}
    numbered = found.order_by().annotate(hold=Value(kind, IntegerField()), hold_by=F(by), held=backup, **told)
    told_of: QuerySet[Any, Any] = numbered.values_list("hold", "hold_by", "held", "hold_first", "hold_second")
    return told_of


def _hold(kind: int, row: int, pk: int, first: str, second: str) -> Hold:
    match kind:
        case _Kind.PIN:
            sentence = say(_("%(name)s pinned it: %(reason)s"), name=first, reason=second)
            return Hold(sentence, f"{reverse('backups:generation', args=[pk])}#pins")
        case _Kind.RESTORE if first:
            return Hold(say(_("Bulk change %(pk)s needs it."), pk=row), reverse("backups:bulk_change", args=[row]))
        case _Kind.RESTORE:
            return Hold(say(_("Restore %(pk)s needs it."), pk=row), reverse("backups:restore", args=[row]))
        case _Kind.CHANGE:
            return Hold(say(_("Change %(pk)s needs it."), pk=row), reverse("backups:change", args=[row]))
    return Hold(say(_("Run %(pk)s reads it."), pk=row), reverse("run", args=[row]))
