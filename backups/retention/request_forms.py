"""The reason of a prune request, and the confirmation before its start."""

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from backups.models import PruneRequest
from kvops.web.fields import ChoiceFilter, ConfirmForm, ExplanationField, PlaceField

LONGEST = 2_000
"""Characters of a reason, so that the evidence stays within its 64 KiB."""


class CollectForm(forms.Form):
    """The reason for deleting the backups."""

    reason = ExplanationField(
        label=_("Reason for deleting these backups"), help_text=_("The reviewer reads this."), max_length=LONGEST
    )


class PruneStartForm(ConfirmForm):
    """The name of the bucket, typed exactly."""

    confirm = forms.CharField(label=_("Name of the bucket"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, prune: PruneRequest) -> None:
        super().__init__(data, expected=prune.environment.r2_bucket)


class PruneFilter(forms.Form):
    """The filters of the prune requests."""

    state = ChoiceFilter(_("State"), _("All states"), *PruneRequest.State.choices[1:])
    after = PlaceField()

    def prunes(self) -> QuerySet[PruneRequest]:
        """The matching prune requests, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return PruneRequest.objects.none()
        found = PruneRequest.objects.select_related("environment", "requested_by", "approval__approver").order_by("-pk")
        if self.cleaned_data["state"]:
            found = found.filter(state=self.cleaned_data["state"])
        return found.filter(pk__lt=self.cleaned_data["after"]) if self.cleaned_data["after"] else found
