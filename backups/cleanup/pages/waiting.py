"""The alarms and next steps of the stages of clean-ups, for the overview and the menu."""

from collections.abc import Iterator

from django.db.models import Count, Min, Q, QuerySet
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.cleanup import after_check
from backups.cleanup.next_action import next_label, operators_turn
from backups.models import Check, CleanupStage, Reappearance
from kvops.models import Person
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST, Line, step

State = CleanupStage.State


def waiting(_person: Person) -> QuerySet[CleanupStage]:
    """The stages of open clean-ups whose next step is an operator's."""
    return operators_turn()


def wrong(_person: Person) -> QuerySet[CleanupStage]:
    """The stages with reappeared keys, and those that differ from D1 until they are accepted."""
    reappeared = Q(pk__in=Reappearance.objects.unseen().values("stage"))
    return CleanupStage.objects.filter(reappeared | _differing())


def _differing() -> Q:
    failed = Q(check_after__outcome=Check.Outcome.FAILED) | Q(dataset_check_after__outcome=Check.Outcome.FAILED)
    return failed & Q(state=State.CONFIRMED, after_accepted=False)


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """One alarm for each stage with reappeared keys that nobody acknowledged, or with differences from D1."""
    unseen = Reappearance.objects.unseen().values("stage").annotate(keys=Count("pk"), since=Min("found_at"))
    rows = unseen.order_by("-stage").values_list("stage", "keys", "since")[:MOST]
    counted = {pk: (keys, since) for pk, keys, since in rows}
    stages = CleanupStage.objects.select_related("request__family", "environment").in_bulk(counted) if counted else {}
    for pk, (keys, since) in counted.items():
        yield Alarm(
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
    related = ("request__family", "environment", "check_after", "dataset_check_after", "approval", "check_passed")
    for stage in CleanupStage.objects.filter(_differing()).select_related(*related).order_by("-pk")[:MOST]:
        n = after_check.differences(stage)
        yield Alarm(
            "danger",
            "stage.differs",
            ngettext("%(n)s difference with D1 after a clean-up", "%(n)s differences with D1 after a clean-up", n)
            % {"n": number_format(n, force_grouping=True)},
            _("%(stage)s: find the cause, and note it when you accept the stage.") % {"stage": stage},
            reverse("backups:stage", args=[stage.pk]),
            _("See details"),
            stage.second_listing_at,
            stage.environment,
        )


def steps(_person: Person) -> Iterator[Line]:
    """The stages that wait for an operator, each with its next step."""
    for stage in operators_turn().select_related("request__family", "environment", "approval").order_by("pk")[:MOST]:
        text = _("Clean-up %(what)s") % {"what": stage.request}
        if stage.returned_because:
            text = f"{text} · {stage.shown_returned_because}"
        url = reverse("backups:stage", args=[stage.pk])
        by = stage.approval.use_by if stage.state == State.APPROVED and stage.approval else None
        yield step(stage.environment, next_label(stage), text, url, since=stage.request.created_at, by=by)
