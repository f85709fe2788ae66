"""The filters of the pages of changes outside KVOps, and the form of an explanation."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from backups.models import OutsideChange, OutsideSearch
from backups.models.outside import OutsideSearchQuerySet
from backups.outside_changes.acknowledge import LONGEST
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models.inventory import beginning_with
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, ExplanationField, NameField, PlaceField, PrefixFilter


class OutsideFilter(forms.Form):
    """The filters for searches; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), ("open", _("Not explained")), ("done", _("Explained")))
    environment = EnvironmentFilter()
    after = PlaceField()

    def searches(self) -> OutsideSearchQuerySet:
        """The matching searches that found a change or could not compare, newest first."""
        found = OutsideSearch.objects.shown().order_by("-pk")
        if not self.is_valid():
            return found.none()
        chosen = self.cleaned_data
        if chosen["state"]:
            found = found.unexplained() if chosen["state"] == "open" else found.filter(acknowledged_at__isnull=False)
        if chosen["environment"]:
            found = found.filter(namespace__environment=chosen["environment"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class OutsideNamesFilter(forms.Form):
    """The filter for the keys of a search; every field may be empty."""

    kind = ChoiceFilter(_("Change"), _("All changes"), *OutsideChange.Kind.choices)
    prefix = PrefixFilter(_("Prefix"))  # type: ignore[assignment]  # not the form's own prefix
    after = forms.CharField(required=False, strip=False, max_length=MAX_NAME_BYTES, widget=forms.HiddenInput)

    def changes(self, search: OutsideSearch) -> QuerySet[OutsideChange]:
        """The matching keys in the order of their names; none if a filter is invalid."""
        if not self.is_valid():
            return OutsideChange.objects.none()
        found, chosen = search.changes.order_by("name"), self.cleaned_data
        if chosen["kind"]:
            found = found.filter(kind=chosen["kind"])
        found = beginning_with(found, chosen["prefix"])
        return found.filter(name__gt=chosen["after"]) if chosen["after"] else found


class ExplanationForm(forms.Form):
    """A person's explanation of changes outside KVOps."""

    note = ExplanationField(
        label=_("Who changed them and why, or the person you asked"),
        help_text=_("It is kept in the audit log and in the runbook. Leave values out."),
        max_length=LONGEST,
    )


class SettingForm(forms.Form):
    """The key to compare with the last backup. Its name comes from the address, with its line breaks."""

    name = NameField()
