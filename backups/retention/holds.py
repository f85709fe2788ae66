"""Holds on backups: pins, and the needs of clean-ups, restores and runs. Derived; nothing is stored.

The backup that a deletion relied on is held for good. One of a cache is held as long as the deletion may be undone.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any

from django.db.models import BigIntegerField, F, IntegerField, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, JSONObject, Now, Substr
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import (
    CleanupRequest,
    CleanupStage,
    KeyChange,
    Pin,
    Restore,
)
from backups.retention.decide import Hold
from kvops import timing
from kvops.models import Category, Environment, Run
from kvops.operations import registry
from kvops.operations.parts import BackupRead
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


type _Held = tuple[int, int, int, Mapping[str, Any]]
"""The kind of a hold, the row that holds, the backup, and the facts that the sentence tells."""

_CLEANUP = ("binding", "prefix", "exact")
"""The facts that name a clean-up."""


def holds_of(pks: Collection[int]) -> Mapping[int, Sequence[Hold]]:
    """The holds on each of these backups, in one query."""
    found: dict[int, list[Hold]] = defaultdict(list)
    for kind, row, pk, told in sorted(_holding(pks), key=lambda held: held[:3]):
        found[pk].append(_hold(kind, row, pk, told))
    return found


def _among(values: Collection[object], kind: str) -> RawSQL:
    """The values as one parameter: each of the questions below has them, and they may be hundreds."""
    return RawSQL(f"SELECT unnest(%s::{kind}[])", [[*values]])  # noqa: S611  (our text, with parameters)


def _cleanups(pks: RawSQL) -> QuerySet[CleanupStage]:
    """Clean-ups that hold: an open one needs its backup, a deletion keeps it; for a cache, while it can be undone."""
    undoable = Q(run__finished_at__gt=Now() - timedelta(seconds=timing.UNDO_WITHIN))
    over = Q(state__in=[State.CONFIRMED, State.ACCEPTED])
    forgotten = over & Q(request__category=Category.CACHE) & ~undoable
    return CleanupStage.objects.filter(generation__in=pks).exclude(state=State.ENDED).exclude(forgotten)


def _holding(found: Collection[int]) -> QuerySet[Any, _Held]:
    """Pins, clean-ups, restores, changes, and open runs: those that read a backup and any other about one."""
    about = Run.objects.open().filter(subject__in=_among([f"{_ABOUT}{pk}" for pk in found], "text"))
    pks = _among(found, "bigint")
    restores = Restore.objects.exclude(state__in=Restore.OVER)
    changes = KeyChange.objects.filter(generation__in=pks).exclude(state__in=KeyChange.OVER)
    named = Cast(Substr("subject", len(_ABOUT) + 1), BigIntegerField())
    pinned = Pin.objects.in_force().filter(generation__in=pks)
    pin = {"name": F("person__name"), "reason": F("reason")}
    stage = {name: F(f"request__{name}") for name in _CLEANUP} | {"slug": F("environment__slug"), "state": F("state")}
    operation = {"operation": F("operation")}
    return _rows(_Kind.PIN, pinned, F("generation"), pin).union(
        _rows(_Kind.CLEANUP, _cleanups(pks), F("generation"), stage),
        _rows(_Kind.RESTORE, restores.filter(generation__in=pks), F("generation"), operation),
        _rows(_Kind.RESTORE, restores.filter(safety__in=pks), F("safety"), operation),
        _rows(_Kind.CHANGE, changes, F("generation")),
        _rows(_Kind.RUN, about, named),
        *(_rows(_Kind.RUN, _reading(one, pks), F(one.backup), by=one.run) for one in registry.READS),
    )


def _reading(one: BackupRead, pks: RawSQL) -> QuerySet[Any]:
    return one.rows().filter(**{f"{one.backup}__in": pks, f"{one.run}__state__in": Run.OPEN})


def _rows(
    kind: int, found: QuerySet[Any], backup: Any, told: Mapping[str, F] | None = None, *, by: str = "pk"
) -> QuerySet[Any, _Held]:
    """The kind, the row that holds, the backup, and facts to tell. A row that is found twice holds once."""
    facts = JSONObject(**(told or {}))
    numbered = found.order_by().annotate(hold=Value(kind, IntegerField()), hold_by=F(by), held=backup, hold_told=facts)
    rows: QuerySet[Any, _Held] = numbered.values_list("hold", "hold_by", "held", "hold_told")
    return rows


def _hold(kind: int, row: int, pk: int, told: Mapping[str, Any]) -> Hold:
    match kind:
        case _Kind.PIN:
            pinned = say(_("%(name)s pinned it: %(reason)s"), **told)
            return Hold(pinned, f"{reverse('backups:generation', args=[pk])}#pins")
        case _Kind.CLEANUP:
            request = CleanupRequest(**{name: told[name] for name in _CLEANUP})
            stage = CleanupStage(environment=Environment(slug=told["slug"]), request=request)
            done = told["state"] not in CleanupStage.BEFORE_DELETION
            sentence = _("The deletion of %(what)s relied on it.") if done else _("The clean-up of %(what)s needs it.")
            return Hold(say(sentence, what=stage), reverse("backups:stage", args=[row]))
        case _Kind.RESTORE if told["operation"]:
            return Hold(say(_("Bulk change %(pk)s needs it."), pk=row), reverse("backups:bulk_change", args=[row]))
        case _Kind.RESTORE:
            return Hold(say(_("Restore %(pk)s needs it."), pk=row), reverse("backups:restore", args=[row]))
        case _Kind.CHANGE:
            return Hold(say(_("Change %(pk)s needs it."), pk=row), reverse("backups:change", args=[row]))
    return Hold(say(_("Run %(pk)s reads it."), pk=row), reverse("run", args=[row]))
