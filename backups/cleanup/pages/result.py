"""The result of a clean-up, in one place for its certificate, its page and the list.

*Complete* needs every approved key gone or skipped for a named reason, and the prefix empty or explained by name.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from django.db.models import Case, Count, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _, ngettext

from backups.cleanup.pages import came_back
from backups.models import CleanupException, CleanupRequest, CleanupStage, OtherName
from kvops.wording import labelled, spelled

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

State, Outcome = CleanupStage.State, CleanupException.Outcome
BROUGHT_BACK = ("undone", "restored", "restoring")
"""Results of a clean-up whose deleted keys are in KV again, or are being written there."""


class KeyCounts(TypedDict):
    """The numbers of keys of a stage."""

    kept: int
    surviving: int
    others_named: int


type CountedStage = WithAnnotations[CleanupStage, KeyCounts]


def counted(found: QuerySet[CleanupStage]) -> QuerySet[CountedStage]:
    """The stages with the numbers of their keys `kept` by an early end and `surviving`, and of the other names known.

    A stage without such keys costs nothing, so lists may ask, too.
    """
    left = CleanupException.objects.filter(stage=OuterRef("pk"))
    return found.annotate(
        kept=_number(left.filter(outcome=Outcome.STOPPED), skipped__gt=0),
        surviving=_number(left.filter(outcome__in=[Outcome.FAILED, Outcome.ALIVE]), skipped__gt=0),
        others_named=_number(OtherName.objects.filter(stage=OuterRef("pk")), others__gt=0),
    )


def _number(rows: QuerySet[CleanupException] | QuerySet[OtherName], **only_if: int) -> Case:
    """The number of rows of each stage, counted only if the condition holds."""
    number = Subquery(rows.order_by().values("stage").annotate(found=Count("pk")).values("found"))
    found = Coalesce(number, Value(0), output_field=IntegerField())
    return Case(When(**only_if, then=found), default=Value(0), output_field=IntegerField())


@dataclass(frozen=True)
class Result:
    """The result of a clean-up with its stages, which come from `counted` and with their restores.

    `code` is for a badge, and `words` is its sentence.
    """

    cleanup: CleanupRequest
    stages: Sequence[CountedStage]

    @cached_property
    def code(self) -> str:
        """The code: of keys brought back before all others, empty while the clean-up is open."""
        shown = {stage.shown_state for stage in self.stages}
        if back := next((one for one in BROUGHT_BACK if one in shown), ""):
            return back
        if not self.cleanup.completed_at:
            return "ended" if self.cleanup.ended_at else ""
        return self._lacking[0][0] if self._lacking else "done"

    @property
    def is_complete(self) -> bool:
        """Whether it is complete, and nothing came back."""
        return self.code == "done"

    @property
    def words(self) -> str:
        """The sentence in the reader's language."""
        if self.code in BROUGHT_BACK:
            return _brought_back(self.stages)
        if self.is_complete:
            return _("Complete: every environment was cleaned and accepted.")
        if self.cleanup.completed_at:
            return self.lacking
        left = ", ".join(stage.environment.name for stage in self.stages if stage.state != State.ACCEPTED)
        if self.code == "ended":
            return _("Ended before it was complete. Not cleaned: %(names)s.") % {"names": left}
        return _("Not complete. Not cleaned and accepted yet: %(names)s.") % {"names": left}

    @property
    def lacking(self) -> str:
        """The sentence that a finished clean-up is not complete, with the numbers; empty if it is, or if it is open."""
        return " ".join(words for _code, words in self._lacking) if self.cleanup.completed_at else ""

    @cached_property
    def _lacking(self) -> list[tuple[str, str]]:
        parts = {
            "ended_early": (_("Ended early: %(facts)s."), list(_kept(self.stages))),
            "not_complete": (_("Not complete: %(facts)s."), [*_surviving(self.stages), *_unnamed(self.stages)]),
        }
        return [(code, words % {"facts": "; ".join(facts)}) for code, (words, facts) in parts.items() if facts]


def _brought_back(stages: Iterable[CleanupStage]) -> str:
    again = [stage for stage in stages if stage.shown_state in BROUGHT_BACK]
    names = ", ".join(stage.environment.name for stage in again)
    sentence = _("Not valid any more: deleted keys were written back in %(names)s.") % {"names": names}
    figures = [f"{labelled(stage.environment.name, one.words)}." for stage in again for one in came_back.of(stage)]
    return " ".join([sentence, *figures])


def _kept(stages: Iterable[CountedStage]) -> Iterator[str]:
    for stage in stages:
        if kept := stage.kept:
            words = ngettext(
                "%(n)s of %(all)s key was kept in %(name)s", "%(n)s of %(all)s keys were kept in %(name)s", stage.names
            )
            yield words % _figures(stage, kept)


def _surviving(stages: Iterable[CountedStage]) -> Iterator[str]:
    for stage in stages:
        if surviving := stage.surviving:
            words = ngettext(
                "%(n)s of %(all)s key is still in KV after three attempts in %(name)s",
                "%(n)s of %(all)s keys are still in KV after three attempts in %(name)s",
                stage.names,
            )
            yield words % _figures(stage, surviving)


def _unnamed(stages: Iterable[CountedStage]) -> Iterator[str]:
    for stage in stages:
        if unnamed := stage.others - stage.others_named:
            words = ngettext(
                "%(n)s other key under the prefix in %(name)s is counted, but not known by name",
                "%(n)s other keys under the prefix in %(name)s are counted, but not known by name",
                unnamed,
            )
            yield words % _figures(stage, unnamed)


def _figures(stage: CleanupStage, number: int) -> dict[str, str]:
    return {"n": spelled(number), "all": spelled(stage.names), "name": stage.environment.name}
