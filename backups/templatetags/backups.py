"""Backups and clean-up on the pages of other features: `{% load backups %}`."""

from collections.abc import Sequence
from datetime import timedelta

from django import template
from django.db.models import Count, Min, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.cleanup import after_check
from backups.cleanup.next_action import next_label, operators_turn
from backups.drills import requests as drill_requests
from backups.generations import contents as generation_contents, coverage as family_coverage
from backups.history import run_outcomes as history_outcomes
from backups.integrity import cases as difference_cases
from backups.investigations import requests as investigation_requests
from backups.models import Check, CleanupStage, Comparison, Dataset, Generation, Reappearance
from backups.models.generations import GenerationQuerySet
from backups.templatetags import bucket
from backups.templatetags.clearing import clearing_alarms, worker_alarms
from backups.templatetags.outside import outside_alarms
from backups.templatetags.policy import policy_alarms
from backups.templatetags.rotation import rotation_alarms
from backups.templatetags.vault import vault_alarms
from kvops import timing
from kvops.models import Environment, Family, Namespace, Run
from kvops.overview.key_alarms import Alarm, in_order

register = template.Library()

SHOWN = 20
"""Stages; the overview lists at most this many."""

NAMED = 5
"""Families; an alarm names at most this many."""

State = CleanupStage.State
Status = Generation.Status


def _newest() -> GenerationQuerySet:
    """The newest backup of every prefix of every namespace."""
    return (
        Generation.objects.of_kv()
        .there()
        .exclude(purpose__in=[Generation.Purpose.RESTORE, Generation.Purpose.CHANGE])
        .order_by("namespace", "prefixes", "-pk")
        .distinct("namespace", "prefixes")
        .select_related("namespace__environment")
    )


@register.inclusion_tag("overview/generations.html", takes_context=True)
def newest_generations(context: template.Context, environment: Environment) -> dict[str, object]:
    """The coverage of every family of an environment."""
    rows = family_coverage.in_environment(environment)
    may_operate = context["request"].user.has_perm("kvops.operate")
    return {"environment": environment, "rows": rows, "may_operate": may_operate}


@register.inclusion_tag("drills/light.html")
def drill_light(environment: Environment) -> dict[str, object]:
    """The last passed restore drill of the environment, in one line."""
    return {"one": drill_requests.status_of(environment)}


@register.inclusion_tag("includes/alarms.html")
def all_alarms(others: Sequence[Alarm]) -> dict[str, object]:
    """The other alarms of the overview together with those of backups and clean-ups, the most severe first."""
    return {"alarms": in_order([*others, *_backup_alarms()])}


def _backup_alarms() -> list[Alarm]:
    """Alarms for backups that are damaged, partial or not verified in time, and for stages that need a look."""
    late = Q(status=Status.COMPLETE, finished_at__lt=Now() - timedelta(seconds=timing.VERIFIED_FRESH))
    newest = _newest().exclude(status=Status.WRITING).values("pk")
    bad = Generation.objects.filter(Q(status__in=[Status.DAMAGED, Status.PARTIAL]) | late, pk__in=newest)
    found = [_alarm(one) for one in bad.select_related("namespace__environment").order_by("-pk")[:SHOWN]]
    return [
        *policy_alarms(),
        *_reappeared(),
        *_differing(),
        *_unattended(),
        *_overdue_cases(),
        *found,
        *_not_in_time(),
        *_past_their_end(),
        *clearing_alarms(),
        *outside_alarms(),
        *vault_alarms(),
        *rotation_alarms(),
        *worker_alarms(),
        *bucket.alarms(),
    ]


def _past_their_end() -> list[Alarm]:
    """One alarm for all investigations whose backup still exists an hour after their end."""
    found = investigation_requests.past_their_end()
    if not found:
        return []
    title = ngettext(
        "The backup of %(n)s investigation should have been deleted",
        "The backups of %(n)s investigations should have been deleted",
        len(found),
    )
    text = _first([each.title for each in found])
    url, since = reverse("backups:investigations"), min(each.ends_at for each in found)
    return [Alarm("warning", "investigation.past_end", title % {"n": len(found)}, text, url, _("See details"), since)]


def _not_in_time() -> list[Alarm]:
    """One alarm for families whose backup is overdue, and one for families with too short a restore history."""
    backups = [
        (f"{backup.namespace} {row.family}", backup) for row in family_coverage.of_all() for backup in row.backups
    ]
    overdue = [name for name, backup in backups if backup.light.alarming]
    short = [name for name, backup in backups if backup.short]
    url, see = f"{reverse('backups:backups')}#coverage", _("See details")
    found = []
    if overdue:
        title = ngettext("A backup of %(n)s family is overdue", "Backups of %(n)s families are overdue", len(overdue))
        title %= {"n": len(overdue)}
        found.append(Alarm("danger", "generation.overdue", title, _first(overdue), url, see))
    if short:
        title = ngettext(
            "%(n)s family has less than 14 days of restore history",
            "%(n)s families have less than 14 days of restore history",
            len(short),
        )
        title %= {"n": len(short)}
        found.append(Alarm("warning", "coverage.short", title, _first(short), url, see))
    return found


def _first(names: Sequence[str]) -> str:
    more = f" +{len(names) - NAMED}" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _reappeared() -> list[Alarm]:
    """One alarm for each stage with reappeared keys without an acknowledgement."""
    unseen = Reappearance.objects.unseen().values("stage").annotate(keys=Count("pk"), since=Min("found_at"))
    counted = {
        pk: (keys, at) for pk, keys, at in unseen.order_by("-stage").values_list("stage", "keys", "since")[:SHOWN]
    }
    stages = CleanupStage.objects.select_related("request__family", "environment").in_bulk(counted)
    return [
        Alarm(
            "danger",
            "key.reappeared",
            ngettext("%(n)s deleted key reappeared", "%(n)s deleted keys reappeared", keys)
            % {"n": number_format(keys, force_grouping=True)},
            _("%(stage)s: inspect the keys, and note your findings.") % {"stage": stages[pk]},
            f"{reverse('backups:stage', args=[pk])}?show=reappeared",
            _("See the keys"),
            since,
        )
        for pk, (keys, since) in counted.items()
    ]


def _differing() -> list[Alarm]:
    """One alarm for each proven stage that differs from D1, until it is accepted."""
    failed = Q(check_after__outcome=Check.Outcome.FAILED) | Q(dataset_check_after__outcome=Check.Outcome.FAILED)
    stages = CleanupStage.objects.filter(failed, state=State.CONFIRMED).order_by("-pk")
    related = ("request__family", "environment", "check_after", "dataset_check_after")
    return [
        Alarm(
            "danger",
            "stage.differs",
            ngettext(
                "%(n)s difference with D1 after a clean-up",
                "%(n)s differences with D1 after a clean-up",
                after_check.differences(stage),
            )
            % {"n": number_format(after_check.differences(stage), force_grouping=True)},
            _("%(stage)s: find the cause, and note it when you accept the stage.") % {"stage": stage},
            reverse("backups:stage", args=[stage.pk]),
            _("See details"),
            stage.second_listing_at,
        )
        for stage in stages.select_related(*related)[:SHOWN]
    ]


def _unattended() -> list[Alarm]:
    """One alarm for each newest check of KV with differences that nobody looks into."""
    return [
        Alarm(
            "danger",
            "difference.unattended",
            ngettext(
                "Nobody looks into %(n)s difference with D1",
                "Nobody looks into %(n)s differences with D1",
                check.differences,
            )
            % {"n": number_format(check.differences, force_grouping=True)},
            f"{check.environment.name}: {check.dataset.name}",
            reverse("backups:check", args=[check.pk]),
            _("What now?"),
            check.finished_at,
        )
        for check in difference_cases.unattended()[:SHOWN]
    ]


def _overdue_cases() -> list[Alarm]:
    """One alarm for each overdue case of differences."""
    return [
        Alarm(
            "danger",
            "difference.overdue",
            _("The cause of differences with D1 is overdue"),
            f"{case.environment.name}: {case.dataset.name}, {case.owner.name}",
            reverse("backups:check", args=[case.failed_id]),
            _("See details"),
            case.opened_at,
        )
        for case in difference_cases.overdue()[:SHOWN]
    ]


def _alarm(generation: Generation) -> Alarm:
    titles = {
        Status.DAMAGED: ("generation.damaged", _("The newest backup of %(what)s is damaged")),
        Status.PARTIAL: ("generation.partial", _("The newest backup of %(what)s is partial")),
        Status.COMPLETE: ("generation.unverified", _("The newest backup of %(what)s was never verified")),
    }
    what = f"{generation.namespace} {', '.join(generation.shown_prefixes)}"
    text = generation.shown_problem or _("No deletion may rely on this backup.")
    level = "danger" if generation.status == Status.DAMAGED else "warning"
    url = reverse("backups:generation", args=[generation.pk])
    code, title = titles[Status(generation.status)]
    return Alarm(level, code, title % {"what": what}, text, url, _("See details"), generation.finished_at)


@register.simple_tag
def waiting_stages() -> list[tuple[CleanupStage, str]]:
    """The stages of open clean-ups that wait for an operator: it is their turn and they have no open run."""
    stages = operators_turn().select_related("request__family", "environment").order_by("pk")[:SHOWN]
    return [(stage, next_label(stage)) for stage in stages]


@register.inclusion_tag("runs/products.html")
def run_products(run: Run) -> dict[str, object]:
    """The backup, the checks and the comparison of a run."""
    comparison = Comparison.objects.filter(run=run).first()
    return {
        "generation": Generation.objects.filter(run=run).first(),
        "checks": run.checks.all(),
        "comparison": comparison,
    }


@register.inclusion_tag("runs/outcomes.html")
def run_outcomes(run: Run) -> dict[str, object]:
    """The file with the outcome of a run for each key, of a run that has one."""
    return {"run": run, "kept": history_outcomes.has_outcomes(run)}


@register.inclusion_tag("backups/holding.html")
def generations_holding(
    namespace: Namespace, name: str, *, sensitive: bool, may_view_values: bool, may_operate: bool
) -> dict[str, object]:
    """The namespace's newest backups with a value of the key, and the actions that the reader may take."""
    return {
        "held": generation_contents.holding(namespace, name),
        "namespace": namespace,
        "name": name,
        "sensitive": sensitive,
        "may_operate": may_operate,
        "may_view_values": may_view_values,
    }


@register.simple_tag
def all_datasets() -> list[Dataset]:
    """The datasets of the policy in force."""
    return list(Dataset.objects.order_by("name"))


@register.inclusion_tag("categories/datasets.html")
def datasets_of(family: Family, datasets: Sequence[Dataset]) -> dict[str, object]:
    """The datasets that relate keys of the family to D1."""
    mine = [one for one in datasets if one.binding == family.binding and family.matches(one.prefix)]
    return {"family": family, "datasets": mine}
