"""The forms along a bulk change: the keys and what they get, the reason, the confirmation; and the filters."""

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from backups.changes.bulk.start import BulkWish, insist_writable
from backups.models import BulkChange, Restore, RestoreEntry
from backups.models.bulk_changes import LONGEST, SHORTEST
from backups.restores.forms import LONGEST as REASON, RestoreNamesFilter, RestoreStartForm
from backups.restores.moves import RestoreRefused
from kvops.inventory.selection import HOUR
from kvops.models import Family
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, ExplanationField, MomentField, NameField, PlaceField
from kvops.wording import reason_of

Operation = Restore.Operation
Scope = BulkChange.Scope
OPERATIONS = [
    (Operation.EXPIRATION.value, _("Set an expiration")),
    (Operation.MARK.value, _("Mark for regeneration")),
]


class BulkScopeForm(forms.Form):
    """The keys of a bulk change, as they stand in the address of the page that asks for one."""

    prefix = NameField(label=_("Keys that begin with"))  # type: ignore[assignment]  # not the form's own prefix
    scope = forms.TypedChoiceField(
        label=_("Which of them"), required=False, choices=Scope.choices, coerce=Scope, empty_value=Scope.ALL
    )
    operation = forms.ChoiceField(required=False, choices=OPERATIONS)


class BulkChangeForm(forms.Form):
    """The keys, and the expiration or the mark that they get."""

    prefix = NameField(widget=forms.HiddenInput)  # type: ignore[assignment]  # not the form's own prefix
    scope = forms.TypedChoiceField(
        required=False, choices=Scope.choices, coerce=Scope, empty_value=Scope.ALL, widget=forms.HiddenInput
    )
    operation = forms.ChoiceField(label=_("What happens"), choices=OPERATIONS, widget=forms.RadioSelect)
    hours = forms.IntegerField(
        label=_("Hours that each key still lives"),
        required=False,
        min_value=SHORTEST // HOUR,
        max_value=LONGEST // HOUR,
        help_text=_("For an expiration, counted from the start of the run. 168 hours are a week."),
    )
    until = MomentField(
        label=_("Or the time at which each key expires"),
        required=False,
        help_text=_("KV deletes the keys at this time."),
    )
    value = forms.CharField(
        label=_("Value of the mark"),
        required=False,
        max_length=100,
        help_text=_("For a mark: the text that the application reads, such as the date of today."),
    )

    def clean(self) -> dict[str, Any]:
        """Want exactly the fields of the chosen operation."""
        chosen = super().clean() or self.cleaned_data
        if self.errors:
            return chosen
        if chosen["operation"] == Operation.MARK:
            if not chosen["value"]:
                self.add_error("value", _("Give the value of the mark."))
        elif chosen["hours"] is not None and chosen["until"] is not None:
            self.add_error("hours", _("Give the hours or the time, not both: empty one of them."))
        elif chosen["hours"] is None and chosen["until"] is None:
            self.add_error("hours", _("Give the hours or the time."))
        elif chosen["until"] is not None:
            self._insist_writable(chosen["until"])
        return chosen

    def _insist_writable(self, until: datetime) -> None:
        try:
            insist_writable(None, int(until.timestamp()))
        except RestoreRefused as refused:
            self.add_error("until", reason_of(refused))

    def suit(self, family: Family) -> None:
        """Begin with the lifetime that the family is designed for. Without a mark in the design, offer none."""
        if not self.is_bound:
            self.initial["hours"] = _hours(family)
        if not family.mark:
            for name in ("operation", "value"):
                self.fields[name].widget = forms.HiddenInput()

    def wish(self) -> BulkWish:
        """What each key gets, from the cleaned fields."""
        chosen, hours, until = self.cleaned_data, self.cleaned_data["hours"], self.cleaned_data["until"]
        operation = Operation(chosen["operation"])
        if operation == Operation.MARK:
            return BulkWish(operation, value=chosen["value"])
        lifetime = None if hours is None else hours * HOUR
        return BulkWish(operation, lifetime, int(until.timestamp()) if isinstance(until, datetime) else None)


def _hours(family: Family) -> int | None:
    """The hours of the family's expiry design, if a bulk change can give them; else None."""
    seconds = family.lifetime
    return seconds // HOUR if seconds is not None and SHORTEST <= seconds <= LONGEST else None


class SubmitBulkForm(forms.Form):
    """The reason for the change."""

    reason = ExplanationField(
        label=_("Reason for the change"),
        help_text=_("The reviewer reads this."),
        max_length=REASON,
    )


class BulkStartForm(RestoreStartForm):
    """The confirmation of a bulk change: the namespace's title, typed exactly."""


class AcceptBulkForm(forms.Form):
    """The note that the application works."""

    note = ExplanationField(
        label=_("What you tried in the application, and that it works"),
        max_length=REASON,
    )


class BulkNamesFilter(RestoreNamesFilter):
    """The filters of the names; nothing is compared before the change."""

    found = None  # type: ignore[assignment]  # Django's way to leave out a field of the base
    outcome = ChoiceFilter(
        _("Result"), _("All results"), (RestoreNamesFilter.LEFT, _("not changed")), *RestoreEntry.Outcome.choices
    )


class BulkFilter(forms.Form):
    """The filters of the bulk changes; every field may be empty."""

    STATES = (("", _("All states")), ("open", _("open")), *((s.value, s.label) for s in Restore.OVER))

    environment = EnvironmentFilter()
    state = forms.ChoiceField(label=_("State"), required=False, choices=STATES)
    after = PlaceField()

    def bulk_changes(self) -> QuerySet[Restore]:
        """The matching changes, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return Restore.objects.none()
        chosen = self.cleaned_data
        related = ("environment", "namespace", "bulk__family", "run")
        found = Restore.objects.exclude(operation=Operation.RESTORE).select_related(*related).order_by("-pk")
        if chosen["environment"]:
            found = found.filter(environment=chosen["environment"])
        if chosen["state"] == "open":
            found = found.exclude(state__in=Restore.OVER)
        elif chosen["state"]:
            found = found.filter(state=chosen["state"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found
