"""Work that waits for an operator on the overview, beside the stages of clean-ups: `{% load waiting %}`."""

from dataclasses import dataclass

from django import template
from django.db.models import CharField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat, Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.cleanup.references import BEFORE_SUBMIT, RESTING_ON_ANSWERS, StageReferences
from backups.drills import requests as drill_requests
from backups.models import (
    CleanupStage,
    Clearing,
    Generation,
    Investigation,
    KeyChange,
    PruneRequest,
    Restore,
    WorkerRule,
)
from kvops.models import ApprovalRequest, Environment, Person, Run, Scratch
from kvops.names import visible

register = template.Library()

SHOWN = 20
"""Rows. The overview lists at most this many of each kind."""

Approval = ApprovalRequest.State


@dataclass(frozen=True)
class WaitingWork:
    """Something an operator does next, with its page and the state of its subject."""

    environment: Environment
    next: str
    subject: str
    url: str
    state: str


@register.simple_tag
def waiting_work(person: Person) -> list[WaitingWork]:
    """Approved restores, changes and prunes, stopped changes, overdue drills, and work without its standing approval.

    A person who approved a request cannot start it, so it is left out.
    """
    return [
        *_restores(person),
        *_changes(person),
        *_bulk_changes(person),
        *_prunes(person),
        *_investigations(),
        *_drills(),
        *_clearings(),
    ]


@register.inclusion_tag("cleanup/_to_answer.html")
def stages_to_answer(environment: Environment, may_operate: bool) -> dict[str, object]:
    """The stages of open clean-ups of an environment on whose pages its code references can be answered."""
    resting = CleanupStage.objects.filter(request=OuterRef("request"), state__in=RESTING_ON_ANSWERS)
    stages = (
        CleanupStage.objects.filter(~Exists(resting), environment=environment, state__in=BEFORE_SUBMIT)
        .filter(request__ended_at=None, request__completed_at=None, scheduled=False)
        .select_related("request__family", "environment", "namespace")
        .order_by("pk")[:SHOWN]
    )
    return {"stages": [(stage, StageReferences.of(stage)) for stage in stages], "may_operate": may_operate}


def _restores(person: Person) -> list[WaitingWork]:
    found = Restore.objects.restoring().filter(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    found = found.exclude(approval__approver=person).select_related("environment").order_by("pk")
    return [
        WaitingWork(
            one.environment,
            _("Start the restore"),
            ngettext("%(n)s key from backup %(pk)s", "%(n)s keys from backup %(pk)s", one.names)
            % {"n": number_format(one.names, force_grouping=True), "pk": one.generation_id},
            reverse("backups:restore", args=[one.pk]),
            "restore_approved",
        )
        for one in found[:SHOWN]
    ]


def _changes(person: Person) -> list[WaitingWork]:
    """Approved changes, and those whose run failed or was stopped: the key is not as it was, or a right is gone."""
    approved = Q(state=KeyChange.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=KeyChange.State.WRITING, run__state__in=Run.RESUMABLE)
    found = KeyChange.objects.filter(approved | resting).exclude(approval__approver=person)
    return [
        WaitingWork(
            one.environment,
            _("Write the key") if one.state == KeyChange.State.APPROVED else _("See why the change stopped"),
            visible(one.name),
            reverse("backups:change", args=[one.pk]),
            f"change_{one.state}" if one.state == KeyChange.State.APPROVED else one.run.state if one.run else "",
        )
        for one in found.select_related("environment", "run").order_by("pk")[:SHOWN]
    ]


def _bulk_changes(person: Person) -> list[WaitingWork]:
    """Approved bulk changes, and those whose run failed or was stopped."""
    approved = Q(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=Restore.State.WRITING, run__state__in=Run.RESUMABLE)
    found = Restore.objects.filter(approved | resting).exclude(operation="").exclude(approval__approver=person)
    return [
        WaitingWork(
            one.environment,
            _("Start the bulk change") if one.state == Restore.State.APPROVED else _("See why the bulk change stopped"),
            ngettext("%(n)s key", "%(n)s keys", one.names) % {"n": number_format(one.names, force_grouping=True)},
            reverse("backups:bulk_change", args=[one.pk]),
            "bulk_approved" if one.state == Restore.State.APPROVED else one.run.state if one.run else "",
        )
        for one in found.select_related("environment", "run").order_by("pk")[:SHOWN]
    ]


def _prunes(person: Person) -> list[WaitingWork]:
    found = PruneRequest.objects.filter(state=PruneRequest.State.APPROVED, approval__use_by__gt=Now())
    found = found.exclude(approval__approver=person).select_related("environment").order_by("pk")
    return [
        WaitingWork(
            one.environment,
            _("Start the prune run"),
            ngettext("%(n)d backup", "%(n)d backups", one.generations) % {"n": one.generations},
            reverse("backups:prune", args=[one.pk]),
            "prune_approved",
        )
        for one in found[:SHOWN]
    ]


def _investigations() -> list[WaitingWork]:
    """Investigations whose backup nobody may delete at their end: no approval is asked for or in force."""
    covered = ApprovalRequest.objects.filter(
        Q(state=Approval.PENDING) | Q(state=Approval.APPROVED, standing_until__gt=Now()),
        kind=ApprovalRequest.Kind.INVESTIGATION,
        subject=Concat(Value("investigation:"), Cast(OuterRef("pk"), CharField())),
    )
    found = Investigation.objects.there().filter(~Exists(covered)).select_related("environment").order_by("pk")
    label = _("Ask for the approval to delete its backup")
    return [
        WaitingWork(
            one.environment,
            label,
            one.title,
            reverse("backups:investigation", args=[one.pk]),
            f"investigation_{one.state}",
        )
        for one in found[:SHOWN]
    ]


def _drills() -> list[WaitingWork]:
    """Overdue drills of environments with a scratch namespace and a verified backup, unless one is under way."""
    found = []
    backed_up = Generation.objects.verified().filter(environment=OuterRef("environment"))
    for scratch in (
        Scratch.objects.filter(Exists(backed_up)).select_related("environment").order_by("environment__order")
    ):
        one = drill_requests.status_of(scratch.environment)
        asked = one.asked is not None and one.asked.state == Approval.PENDING
        if one.late and not one.under_way and not asked:
            label = _("Start a restore drill") if one.approval else _("Ask for the approval of restore drills")
            found.append(
                WaitingWork(scratch.environment, label, str(scratch), reverse("backups:drills"), "light_overdue")
            )
    return found


def _clearings() -> list[WaitingWork]:
    """Rules of scheduled clearings and of expiry Workers that no approval is asked for or in force: they do not run."""
    clearings = _uncovered(Clearing.objects.all(), ApprovalRequest.Kind.CLEARING, "clearing")
    workers = _uncovered(WorkerRule.objects.select_related("family"), ApprovalRequest.Kind.WORKER_EXPIRY, "worker")
    return [*clearings, *workers]


def _uncovered[Rule: (Clearing, WorkerRule)](
    among: QuerySet[Rule], kind: ApprovalRequest.Kind, page: str
) -> list[WaitingWork]:
    """The rules of one kind without an approval; the name of their page is also the kind of their subjects."""
    covered = ApprovalRequest.objects.filter(
        Q(state=Approval.PENDING) | Q(state=Approval.APPROVED, standing_until__gt=Now()),
        kind=kind,
        subject=Concat(Value(f"{page}:"), Cast(OuterRef("pk"), CharField())),
    )
    found = among.filter(~Exists(covered), retired_at=None).select_related("namespace__environment")
    label = _("Ask for the approval of the rule")
    return [
        WaitingWork(one.namespace.environment, label, str(one), reverse(f"backups:{page}", args=[one.pk]), "waiting")
        for one in found.order_by("pk")[:SHOWN]
    ]
