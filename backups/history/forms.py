"""The filters of the history of backups, as they stand in its address."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from backups.history.events import Scope, TimelineLane
from kvops.models import Family
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, NameField, PlaceField
from kvops.web.ranges import Period, PeriodForm

DAYS = 30
"""Days, today included: the period that is shown if the address names none."""
BEGINNING = date(2000, 1, 1)
END = date(2050, 12, 31)


def _families() -> list[tuple[str, str | Promise]]:
    found = Family.objects.order_by("binding", "pattern")
    return [("", _("All families")), *((f"{each.binding}/{each}", f"{each.binding} {each}") for each in found)]


def _day(label: Any) -> forms.DateField:
    wrong = _("Choose days between 2000 and 2050.")
    return forms.DateField(
        label=label,
        required=False,
        validators=[MinValueValidator(BEGINNING, wrong), MaxValueValidator(END, wrong)],
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )


class DeletedKeyFilter(forms.Form):
    """The filters of deleted keys; every field may be empty."""

    prefix = NameField(label=_("Name begins with"), required=False)  # type: ignore[assignment]  # not the form's own
    part = NameField(label=_("Name contains"), required=False)
    after = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)


class BackupHistoryFilter(PeriodForm):
    """The filters of backups, period and actor; every field may be empty. Dates are days in the team's zone."""

    family = forms.ChoiceField(label=_("Family"), required=False)
    environment = EnvironmentFilter()
    lane = ChoiceFilter(
        pgettext_lazy("history", "Event"), pgettext_lazy("history", "All events"), *TimelineLane.choices
    )
    since = _day(_("From"))
    until = _day(_("To"))
    actor = forms.CharField(
        label=_("Person"),
        required=False,
        max_length=200,
        help_text=_("Part of a name, an email address or an actor, such as cli: or system:."),
    )
    after = PlaceField()

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        family = self.fields["family"]
        assert isinstance(family, forms.ChoiceField)  # noqa: S101  (for the type checker)
        family.choices = _families()  # once, not whenever the field is looked at

    def clean(self) -> dict[str, Any]:
        """A period needs both its days."""
        chosen = self.cleaned_data
        if "since" not in chosen or "until" not in chosen:
            return chosen
        period = chosen.get("days")
        if period and not (chosen["since"] or chosen["until"]):
            return {**chosen, "since": period.since, "until": period.until}
        until = chosen["until"] or timezone.localdate()
        since = chosen["since"] or min(until, timezone.localdate()) - timedelta(days=DAYS - 1)
        if since > until:
            self.add_error("until", _("The period ends before it begins."))
        return {**chosen, "since": since, "until": until}

    @property
    def period(self) -> Period | None:
        """The period of the chart: the chosen one, or the one that is shown if the address names no day."""
        chosen = super().period
        names_days = not self.is_valid() or self.data.get("since") or self.data.get("until")
        return chosen or (None if names_days else Period(DAYS, timezone.localdate()))

    def scope(self) -> Scope | None:
        """The scope of the filters; None if one is invalid."""
        if not self.is_valid():
            return None
        chosen = self.cleaned_data
        return Scope(
            since=chosen["since"],
            until=chosen["until"],
            family=_family(chosen["family"]),
            environment=chosen["environment"],
            lane=TimelineLane(chosen["lane"]) if chosen["lane"] else None,
            actor=chosen["actor"],
        )


def _family(value: str) -> Family | None:
    binding, _slash, pattern = value.partition("/")
    return next((each for each in Family.objects.filter(binding=binding) if str(each) == pattern), None)


def everything() -> Scope:
    """The scope without any limit."""
    return Scope(since=BEGINNING, until=timezone.localdate())
