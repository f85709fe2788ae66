"""An operator's next steps on the overview: clean-ups, restores, changes, prunes, drills and standing approvals.

A person who approved a request cannot start it, so it is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from django.db.models import CharField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat, Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.cleanup.next_action import next_label, operators_turn
from backups.models import (
    CleanupStage,
    Clearing,
    DifferenceCase,
    Drill,
    Generation,
    Investigation,
    KeyChange,
    PruneRequest,
    Restore,
)
from kvops.models import ApprovalRequest, Environment, Person, Run, Scratch
from kvops.names import visible
from kvops.overview.estate import Estate
from kvops.overview.lines import Line, Urgency
from kvops.overview.sources import Reader
from kvops.web.gather import Gathered, Question

SHOWN = 20
"""Rows. The overview lists at most this many of each kind."""

Approval = ApprovalRequest.State
State = CleanupStage.State


def questions(reader: Reader) -> Mapping[str, Question]:
    """For each kind of step, whether there is one; for those who are no operators, only their cases."""
    cases = {"my_todos_of_cases": DifferenceCase.objects.filter(closed_at=None, owner=reader.person)}
    if not reader.may_operate:
        return cases
    person = reader.person
    return {
        **cases,
        "stages": _stages(),
        "restores": restores_to_start(person),
        "changes": changes_to_take_on(person),
        "bulk_changes": bulk_changes_to_take_on(person),
        "prunes": prunes_to_start(person),
        "uncovered_investigations": _investigations(),
        "uncovered_clearings": _clearings(),
    }


def drills() -> Question:
    """The environments whose drill is late, and whether their standing approval is in force."""
    subject = Concat(Value("drill:"), OuterRef("environment__slug"))
    asked = ApprovalRequest.objects.filter(kind=ApprovalRequest.Kind.DRILL, subject=subject)
    mine = Drill.objects.filter(environment=OuterRef("environment"))
    passed = mine.filter(passed=True, finished_at__gt=Now() - Drill.LATE)
    late = Scratch.objects.filter(
        ~Exists(passed),
        ~Exists(mine.filter(run__state__in=Run.OPEN)),
        ~Exists(asked.filter(state=Approval.PENDING)),
        Exists(Generation.objects.verified().filter(environment=OuterRef("environment"))),
    )
    approved = Exists(asked.filter(state=Approval.APPROVED, standing_until__gt=Now()))
    return late.order_by("environment__order").values_list("environment_id", "environment__slug", "binding", approved)


def passed_drills() -> Question:
    """The last drill that passed in each environment, with its end."""
    passed = Drill.objects.filter(passed=True).order_by("environment", "-pk").distinct("environment")
    return passed.values_list("environment_id", "pk", "finished_at")


def steps(answers: Gathered, reader: Reader, estate: Estate) -> Sequence[Line]:
    """The steps that the person can take now."""
    if not reader.may_operate:
        return []
    person = reader.person
    kinds: Mapping[str, Callable[[], list[Line]]] = {
        "stages": stage_lines,
        "restores": lambda: [_restore(one) for one in restores_to_start(person)[:SHOWN]],
        "changes": lambda: [_change(one) for one in changes_to_take_on(person)[:SHOWN]],
        "bulk_changes": lambda: [_bulk_change(one) for one in bulk_changes_to_take_on(person)[:SHOWN]],
        "prunes": lambda: [_prune(one) for one in prunes_to_start(person)[:SHOWN]],
        "uncovered_investigations": lambda: [_investigation(one) for one in _investigations()[:SHOWN]],
        "uncovered_clearings": lambda: [_rule(one) for one in _clearings()[:SHOWN]],
    }
    found = [line for name, lines_of in kinds.items() if name in answers for line in lines_of()]
    return [*found, *_drills(answers, estate)]


def _line(
    environment: Environment,
    title: str,
    subject: str,
    url: str,
    *,
    since: datetime | None = None,
    by: datetime | None = None,
) -> Line:
    """A step. `by` is the last moment at which the approval can be used."""
    label = _("Approval ends") if by else ""
    return Line(Urgency.STEP, title, subject, url, _("Open"), [(environment, url)], since, label, by)


def _stages() -> QuerySet[CleanupStage]:
    return operators_turn().select_related("request__family", "environment", "approval").order_by("pk")


def stage_lines() -> list[Line]:
    """The stages that wait for an operator, each with its next step."""
    found = []
    for stage in _stages()[:SHOWN]:
        text = _("Clean-up %(what)s") % {"what": stage.request}
        if stage.returned_because:
            text = f"{text} · {stage.shown_returned_because}"
        approved = stage.state == State.APPROVED and stage.approval
        url = reverse("backups:stage", args=[stage.pk])
        by = stage.approval.use_by if approved and stage.approval else None
        found.append(_line(stage.environment, next_label(stage), text, url, since=stage.request.created_at, by=by))
    return found


def restores_to_start(person: Person) -> QuerySet[Restore]:
    """Approved restores, of deletions too, that the person may start."""
    found = Restore.objects.restoring().filter(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    return found.exclude(approval__approver=person).select_related("environment", "approval").order_by("pk")


def _restore(one: Restore) -> Line:
    subject = ngettext("%(n)s key from backup %(pk)s", "%(n)s keys from backup %(pk)s", one.names) % {
        "n": number_format(one.names, force_grouping=True),
        "pk": one.generation_id,
    }
    url = reverse("backups:restore", args=[one.pk])
    by = one.approval.use_by if one.approval else None
    return _line(one.environment, _("Start the restore"), subject, url, since=one.created_at, by=by)


def changes_to_take_on(person: Person) -> QuerySet[KeyChange]:
    """Approved changes, and those whose run failed or was stopped: the key is not as it was, or a right is gone."""
    approved = Q(state=KeyChange.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=KeyChange.State.WRITING, run__state__in=Run.RESUMABLE)
    found = KeyChange.objects.filter(approved | resting).exclude(approval__approver=person)
    return found.select_related("environment", "approval").order_by("pk")


def _change(one: KeyChange) -> Line:
    approved = one.state == KeyChange.State.APPROVED
    title = _("Write the key") if approved else _("See why the change stopped")
    url = reverse("backups:change", args=[one.pk])
    by = one.approval.use_by if approved and one.approval else None
    return _line(one.environment, title, visible(one.name), url, since=one.created_at, by=by)


def bulk_changes_to_take_on(person: Person) -> QuerySet[Restore]:
    """Approved bulk changes, and those whose run failed or was stopped."""
    approved = Q(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=Restore.State.WRITING, run__state__in=Run.RESUMABLE)
    found = Restore.objects.filter(approved | resting).exclude(operation="").exclude(approval__approver=person)
    return found.select_related("environment", "approval").order_by("pk")


def _bulk_change(one: Restore) -> Line:
    approved = one.state == Restore.State.APPROVED
    title = _("Start the bulk change") if approved else _("See why the bulk change stopped")
    subject = ngettext("%(n)s key", "%(n)s keys", one.names) % {"n": number_format(one.names, force_grouping=True)}
    url = reverse("backups:bulk_change", args=[one.pk])
    by = one.approval.use_by if approved and one.approval else None
    return _line(one.environment, title, subject, url, since=one.created_at, by=by)


def prunes_to_start(person: Person) -> QuerySet[PruneRequest]:
    """Approved prune requests that the person may start."""
    found = PruneRequest.objects.filter(state=PruneRequest.State.APPROVED, approval__use_by__gt=Now())
    return found.exclude(approval__approver=person).select_related("environment", "approval").order_by("pk")


def _prune(one: PruneRequest) -> Line:
    subject = ngettext("%(n)d backup", "%(n)d backups", one.generations) % {"n": one.generations}
    url = reverse("backups:prune", args=[one.pk])
    by = one.approval.use_by if one.approval else None
    return _line(one.environment, _("Start the prune run"), subject, url, since=one.created_at, by=by)


def _covered(kind: ApprovalRequest.Kind, page: str) -> QuerySet[ApprovalRequest]:
    """The requests about the subject of the outer query that are pending or in force."""
    return ApprovalRequest.objects.filter(
        Q(state=Approval.PENDING) | Q(state=Approval.APPROVED, standing_until__gt=Now()),
        kind=kind,
        subject=Concat(Value(f"{page}:"), Cast(OuterRef("pk"), CharField())),
    )


def _investigations() -> QuerySet[Investigation]:
    """Investigations whose backup nobody may delete at their end: no approval is asked for or in force."""
    covered = _covered(ApprovalRequest.Kind.INVESTIGATION, "investigation")
    return Investigation.objects.there().filter(~Exists(covered)).select_related("environment").order_by("pk")


def _investigation(one: Investigation) -> Line:
    label, url = _("Ask for the approval to delete its backup"), reverse("backups:investigation", args=[one.pk])
    return _line(one.environment, label, one.title, url, since=one.created_at)


def _clearings() -> QuerySet[Clearing]:
    """Rules of scheduled clearings that no approval is asked for or in force for: they do not run."""
    covered = _covered(ApprovalRequest.Kind.CLEARING, "clearing")
    found = Clearing.objects.filter(~Exists(covered), retired_at=None)
    return found.select_related("namespace__environment", "family").order_by("pk")


def _rule(one: Clearing) -> Line:
    label, url = _("Ask for the approval of the rule"), reverse("backups:clearing", args=[one.pk])
    return _line(one.namespace.environment, label, str(one), url, since=one.made_at)


def _drills(answers: Gathered, estate: Estate) -> list[Line]:
    """Overdue drills of environments with a scratch namespace and a verified backup, unless one is under way."""
    url = reverse("backups:drills")
    return [
        _line(
            estate.environments[environment],
            _("Start a restore drill") if approved else _("Ask for the approval of restore drills"),
            f"{slug}/{binding}",
            url,
        )
        for environment, slug, binding, approved in answers["drills"]
    ]
