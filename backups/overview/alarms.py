"""The alarms of backups and clean-ups on the overview. Each is read only if the answers say that there is any."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups import policy
from backups.cleanup import after_check
from backups.integrity import cases as difference_cases
from backups.investigations import requests as investigation_requests
from backups.models import (
    BucketProtection,
    Check,
    CleanupStage,
    Clearing,
    DifferenceCase,
    Generation,
    OutsideSearch,
    Reappearance,
    StoredObject,
    UnfinishedUpload,
)
from backups.models.generations import GenerationQuerySet
from backups.overview.families import DATASET_FIELDS, coverage_of
from backups.templatetags import bucket
from backups.templatetags.clearing import clearing_alarms
from backups.templatetags.outside import outside_alarms
from backups.templatetags.policy import policy_alarms
from backups.templatetags.vault import vault_alarms
from kvops import timing
from kvops.models import Environment
from kvops.overview.estate import FAMILY_FIELDS, Estate
from kvops.overview.key_alarms import Alarm
from kvops.web.gather import Gathered, Question, moment
from kvops.wording import labelled

SHOWN = 20
"""Alarms of one kind; the overview lists at most this many."""

NAMED = 5
"""Families; an alarm names at most this many."""

State = CleanupStage.State
Status, Purpose = Generation.Status, Generation.Purpose


def lists() -> Mapping[str, Question]:
    """The newest case of each dataset and environment, closed or open, and the lock of each bucket."""
    return {
        "cases": difference_cases.newest_of_each(),
        "locks": BucketProtection.objects.values_list("environment_id", "lock"),
    }


def questions() -> Mapping[str, Question]:
    """For each kind of alarm, whether there may be one."""
    hour_ago = Now() - timedelta(hours=1)
    known = Q(lock=BucketProtection.Lock.HELD, problem="", wider=[], deletes=[], public=[], read_at__gt=hour_ago)
    wrong = [StoredObject.Status.MISSING, StoredObject.Status.CHANGED, StoredObject.Status.UNKNOWN]
    return {
        "reappeared": Reappearance.objects.unseen(),
        "stages_differing": _differing_stages(),
        "cases_open": DifferenceCase.objects.filter(closed_at=None),
        "backups_bad": _bad(),
        "investigations": investigation_requests.past_their_end(),
        "clearings": Clearing.objects.filter(retired_at=None),
        "outside": OutsideSearch.objects.unexplained(),
        "vaults": Environment.objects.exclude(vault=""),
        "objects_wrong": StoredObject.objects.needing_a_look().filter(status__in=wrong),
        "uploads": UnfinishedUpload.objects.all(),
        "protections": BucketProtection.objects.exclude(known),
    }


def alarms(answers: Gathered, estate: Estate) -> list[Alarm]:
    """Alarms for backups that are damaged, partial or not verified in time, for stages that need a look, and so on."""
    found = [*_edited(answers), *_not_in_time(answers, estate), *_unattended(answers, estate)]
    kinds = {
        "reappeared": _reappeared,
        "stages_differing": _differing,
        "cases_open": _overdue_cases,
        "backups_bad": _bad_backups,
        "investigations": _past_their_end,
        "clearings": clearing_alarms,
        "outside": outside_alarms,
        "vaults": vault_alarms,
        "protections": bucket.unprotected,
    }
    for name, alarms_of in kinds.items():
        if name in answers:
            found += alarms_of()
    if "objects_wrong" in answers or "uploads" in answers:
        found += bucket.differing()
    return found


def _edited(answers: Gathered) -> list[Alarm]:
    """An alarm if families or datasets in the database are not as approved."""
    for number, definition in answers["policies"]:
        families = (dict(zip(FAMILY_FIELDS, fields, strict=True)) for _pk, *fields in answers["families"])
        datasets = (dict(zip(DATASET_FIELDS, fields, strict=True)) for _pk, *fields in answers["datasets"])
        now = policy.Policy.stored(families, datasets)
        return policy_alarms(policy.why_not_as(number, definition, now))
    return []


def _bad() -> GenerationQuerySet:
    """The newest backups that are damaged, partial or were not verified within a day."""
    late = Q(status=Status.COMPLETE, finished_at__lt=Now() - timedelta(seconds=timing.VERIFIED_FRESH))
    lasting = Generation.objects.of_kv().there().exclude(purpose__in=[Purpose.RESTORE, Purpose.CHANGE])
    finished = lasting.exclude(status=Status.WRITING).order_by()
    newest = finished.values("namespace", "prefixes").annotate(newest=Max("pk")).values("newest")
    return Generation.objects.filter(Q(status__in=[Status.DAMAGED, Status.PARTIAL]) | late, pk__in=newest)


def _bad_backups() -> list[Alarm]:
    """An alarm for each of them."""
    return [_alarm(one) for one in _bad().select_related("namespace__environment").order_by("-pk")[:SHOWN]]


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


def _not_in_time(answers: Gathered, estate: Estate) -> list[Alarm]:
    """One alarm for families whose backup is overdue, and one for families with too short a restore history."""
    backups = [(str(row.family), one) for row in coverage_of(answers, estate) for one in row.backups]
    overdue = [(name, one.namespace.environment) for name, one in backups if one.light.alarming]
    short = [(name, one.namespace.environment) for name, one in backups if one.short]
    found = []
    if overdue:
        n = len({name for name, _environment in overdue})
        title = ngettext("A backup of %(n)s family is overdue", "Backups of %(n)s families are overdue", n) % {"n": n}
        found.append(_about("danger", "generation.overdue", title, overdue))
    if short:
        n = len({name for name, _environment in short})
        title = ngettext(
            "%(n)s family has less than 14 days of restore history",
            "%(n)s families have less than 14 days of restore history",
            n,
        )
        found.append(_about("warning", "coverage.short", title % {"n": n}, short))
    return found


def _about(level: str, code: str, title: str, named: Sequence[tuple[str, Environment]]) -> Alarm:
    """An alarm about families of several environments, production first."""
    environments = {each.pk: each for _name, each in sorted(named, key=lambda one: not one[1].production)}
    text = _first(list(dict.fromkeys(name for name, _environment in named)))
    url = f"{reverse('backups:backups')}#coverage"
    first, *others = environments.values()
    return Alarm(level, code, title, text, url, _("See details"), environment=first, also=others)


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
            stages[pk].environment,
        )
        for pk, (keys, since) in counted.items()
    ]


def _differing_stages() -> QuerySet[CleanupStage]:
    failed = Q(check_after__outcome=Check.Outcome.FAILED) | Q(dataset_check_after__outcome=Check.Outcome.FAILED)
    return CleanupStage.objects.filter(failed, state=State.CONFIRMED, after_accepted=False)


def _differing() -> list[Alarm]:
    """One alarm for each proven stage that differs from D1, until it is accepted."""
    related = ("request__family", "environment", "check_after", "dataset_check_after", "approval", "check_passed")
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
            stage.environment,
        )
        for stage in _differing_stages().select_related(*related).order_by("-pk")[:SHOWN]
    ]


def _unattended(answers: Gathered, estate: Estate) -> list[Alarm]:
    """One alarm for each newest check of KV with differences that nobody looks into."""
    datasets = {pk: fields[DATASET_FIELDS.index("name")] for pk, *fields in answers["datasets"]}
    cases = {(dataset, environment): (moment(at), of_newer) for dataset, environment, at, of_newer in answers["cases"]}
    found = []
    for dataset, environment, pk, outcome, differences, at, newer in answers["checks"]:
        closed_at, of_newer = cases.get((dataset, environment), (None, False))
        only_newer = newer == differences
        attended = (dataset, environment) in cases and difference_cases.is_attended(
            moment(at), closed_at, newer=only_newer, of_newer=of_newer
        )
        if outcome != Check.Outcome.FAILED or attended:
            continue
        of, name = estate.environments[environment], datasets[dataset]
        found.append(
            Alarm(
                "danger",
                "difference.unattended",
                _unattended_title(differences),
                labelled(of.name, name),
                reverse("backups:check", args=[pk]),
                _("What now?"),
                moment(at),
                of,
                group=name,
                n=differences,
                together=_unattended_title,
            )
        )
    return found


def _unattended_title(n: int) -> str:
    title = ngettext("Nobody looks into %(n)s difference with D1", "Nobody looks into %(n)s differences with D1", n)
    return title % {"n": number_format(n, force_grouping=True)}


def _overdue_cases() -> list[Alarm]:
    """One alarm for each overdue case of differences."""
    return [
        Alarm(
            "danger",
            "difference.overdue",
            _("The cause of differences with D1 is overdue"),
            labelled(case.environment.name, f"{case.dataset.name}, {case.owner.name}"),
            reverse("backups:check", args=[case.failed_id]),
            _("See details"),
            case.opened_at,
            case.environment,
        )
        for case in difference_cases.overdue()[:SHOWN]
    ]


def _alarm(generation: Generation) -> Alarm:
    titles = {
        Status.DAMAGED: ("generation.damaged", _("The newest backup of %(what)s is damaged")),
        Status.PARTIAL: ("generation.partial", _("The newest backup of %(what)s is partial")),
        Status.COMPLETE: ("generation.unverified", _("The newest backup of %(what)s was never verified")),
    }
    prefixes = ", ".join(generation.shown_prefixes)
    what = f"{generation.namespace} {prefixes}"
    text = generation.shown_problem or _("No deletion may rely on this backup.")
    level = "danger" if generation.status == Status.DAMAGED else "warning"
    url = reverse("backups:generation", args=[generation.pk])
    code, title = titles[Status(generation.status)]
    return Alarm(
        level,
        code,
        title % {"what": what},
        text,
        url,
        _("See details"),
        generation.finished_at,
        generation.namespace.environment,
        group=prefixes,
        together=lambda _n: title % {"what": prefixes},
    )
