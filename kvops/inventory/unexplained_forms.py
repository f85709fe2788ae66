"""The filters of the unexplained deletions and unexpected keys, and their acknowledgement."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from kvops.inventory import unexplained as unexplained_deletions
from kvops.inventory.unexplained import OddKey
from kvops.models import Scan
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField


class UnexplainedFilter(forms.Form):
    """The filters for scans; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), ("open", _("Not acknowledged")), ("done", _("Acknowledged")))
    environment = EnvironmentFilter()
    after = PlaceField()

    def scans(self) -> QuerySet[Scan]:
        """The scans with unexplained deletions or unexpected keys that match the filters, newest first."""
        found = Scan.objects.odd().order_by("-pk")
        if not self.is_valid():
            return found.none()
        chosen = self.cleaned_data
        if chosen["state"]:
            found = found.filter(acknowledged_at__isnull=chosen["state"] == "open")
        if chosen["environment"]:
            found = found.filter(namespace__environment=chosen["environment"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class UnexplainedNamesFilter(forms.Form):
    """The filter for names: the deletions, or with `show=new` the unexpected keys."""

    show = forms.CharField(required=False, max_length=10, widget=forms.HiddenInput)
    prefix = forms.CharField(  # type: ignore[assignment]  # not Django's prefix of the field names
        label=_("Prefix"), required=False, strip=False, max_length=512
    )
    after = forms.CharField(required=False, strip=False, max_length=512, widget=forms.HiddenInput)

    def names(self, scan: Scan) -> QuerySet[OddKey]:
        """The names of a scan that match the filter, in order. If the filter is invalid, no names."""
        if not self.is_valid():
            return unexplained_deletions.names(scan).none()
        chosen = self.cleaned_data
        return unexplained_deletions.names(
            scan, prefix=chosen["prefix"], after=chosen["after"], new=self.shows_new(scan)
        )

    def shows_new(self, scan: Scan) -> bool:
        """Whether the unexpected keys are shown. They are also shown if the scan found nothing else."""
        return self.data.get("show") == "new" or not scan.unexplained


class AcknowledgeForm(forms.Form):
    """A person's findings."""

    note = forms.CharField(
        label=_("Your findings, or the person you asked"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
