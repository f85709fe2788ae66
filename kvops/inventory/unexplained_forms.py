"""The filters of the unexplained deletions, and their acknowledgement."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from kvops.inventory import unexplained as unexplained_deletions
from kvops.models import Scan, UnexplainedDeletion
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField


class UnexplainedFilter(forms.Form):
    """The filters for scans; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), ("open", _("Not acknowledged")), ("done", _("Acknowledged")))
    environment = EnvironmentFilter()
    after = PlaceField()

    def scans(self) -> QuerySet[Scan]:
        """The scans with unexplained deletions that match the filters, newest first."""
        found = Scan.objects.filter(unexplained__gt=0).order_by("-pk")
        if not self.is_valid():
            return found.none()
        chosen = self.cleaned_data
        if chosen["state"]:
            found = found.filter(acknowledged_at__isnull=chosen["state"] == "open")
        if chosen["environment"]:
            found = found.filter(namespace__environment=chosen["environment"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class UnexplainedNamesFilter(forms.Form):
    """The filter for names."""

    prefix = forms.CharField(  # type: ignore[assignment]  # not Django's prefix of the field names
        label=_("Prefix"), required=False, strip=False, max_length=512
    )
    after = forms.CharField(required=False, strip=False, max_length=512, widget=forms.HiddenInput)

    def names(self, scan: Scan) -> QuerySet[UnexplainedDeletion]:
        """The names of a scan that match the filter, in order. If the filter is invalid, no names."""
        if not self.is_valid():
            return UnexplainedDeletion.objects.none()
        return unexplained_deletions.names(scan, **self.cleaned_data)


class AcknowledgeForm(forms.Form):
    """A person's findings."""

    note = forms.CharField(
        label=_("Your findings, or the person you asked"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
