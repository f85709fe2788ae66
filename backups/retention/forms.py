"""The filters of the retention page, a rule for the simulator, and the reason of a pin."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from backups.models import Generation
from backups.retention.decide import State
from backups.retention.inputs import Kept, Retention
from kvops import timing
from kvops.inventory.families import LONGEST_RETENTION_DAYS
from kvops.models import Category, Family
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, ExplanationField, FamilyField, PlaceField

SOON = "soon"
SOON_DAYS = 14
LONGEST = 2_000
"""Characters of a reason."""


def _families(empty_label: Any, *, required: bool) -> FamilyField:
    found = Family.objects.order_by("binding", "pattern")
    return FamilyField(found, label=_("Family"), empty_label=empty_label, required=required)


class RetentionFilter(forms.Form):
    """The filters of the backups; every field may be empty."""

    environment = EnvironmentFilter()
    family = _families(_("All families"), required=False)
    state = ChoiceFilter(_("State"), _("All states"), (SOON, _("can be deleted within 14 days")), *State.choices)
    after = PlaceField()

    def backups(self, retention: Retention) -> Iterator[Kept]:
        """The matching backups, oldest first; none if a filter is invalid."""
        if not self.is_valid():
            return
        chosen = self.cleaned_data
        found = Generation.objects.all()
        if chosen["environment"]:
            found = found.filter(environment=chosen["environment"])
        if chosen["after"]:
            found = found.filter(pk__gt=chosen["after"])
        soon = retention.now + timedelta(days=SOON_DAYS)
        if chosen["state"] in {SOON, State.DUE}:  # no date of a backup is before the one stored with it
            found = found.filter(finished_at__isnull=False, retain_until__lte=soon)
        for kept in retention.over(found):
            verdict = kept.verdict
            of_family = not chosen["family"] or any(r.family == chosen["family"].pk for r in verdict.rules)
            of_state = verdict.goes_by(soon) if chosen["state"] == SOON else chosen["state"] in {"", verdict.state}
            if of_family and of_state:
                yield kept


class TryForm(forms.Form):
    """A rule for a family, to simulate its effect."""

    family = _families(_("Choose a family"), required=True)
    days = forms.IntegerField(
        label=_("Days its backups are kept"),
        min_value=timing.RETENTION_DAYS,
        max_value=LONGEST_RETENTION_DAYS,
        error_messages={
            "min_value": _("At least %(limit_value)s days: the policy, section 3.1."),
            "required": _("Give the number of days. A rule without days would delete everything and is refused."),
        },
    )
    after = PlaceField()

    def clean(self) -> dict[str, object]:
        """The backup of a cache may be kept for 30 days at most."""
        chosen: dict[str, object] = super().clean() or self.cleaned_data
        family, days = chosen.get("family"), chosen.get("days")
        cached = isinstance(family, Family) and family.category == Category.CACHE
        if cached and isinstance(days, int) and days > timing.CACHE_RETENTION_DAYS:
            self.add_error("days", _("Backups of caches are kept for 14 to 30 days."))
        return chosen


class ReasonForm(forms.Form):
    """The reason of a pin, or of its removal."""

    reason = ExplanationField(label=_("Reason"), max_length=LONGEST)
