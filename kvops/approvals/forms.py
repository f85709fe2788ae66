"""A reviewer's decision, and the filters of the history."""

import json

from django import forms
from django.db.models import QuerySet
from django.forms.boundfield import BoundField
from django.utils.translation import gettext_lazy as _

from kvops.approvals import risks
from kvops.models import ApprovalRequest
from kvops.operations.registry import REQUESTS
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField
from kvops.wording import TOO_SHORT, explains

Kind = ApprovalRequest.Kind
State = ApprovalRequest.State


def word_to_type(approval: ApprovalRequest) -> str:
    """The text a reviewer types to approve."""
    return REQUESTS[approval.kind].typed.of(json.loads(approval.evidence))


FORM = "decision"
"""The id of the form on the page."""


class ChosenForm(forms.Form):
    """The pressed button: approve or reject."""

    decision = forms.ChoiceField(choices=[("approve", ""), ("reject", "")])


class DecisionForm(ChosenForm):
    """Approve with the typed name, or reject with a reason. `shown` is the digest of the evidence on the page."""

    shown = forms.CharField(max_length=64, widget=forms.HiddenInput)
    confirm = forms.CharField(required=False, strip=False)
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Needed to reject: what should the operator change?"),
    )

    def __init__(self, approval: ApprovalRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data, initial={"shown": approval.digest})
        self.expected = word_to_type(approval)
        self.fields["confirm"].label = str(REQUESTS[approval.kind].typed.label)
        self._risks = risks.risks_of(approval)
        for risk in self._risks:
            tick = forms.CheckboxInput(attrs={"form": FORM})  # it stands above the bar with the buttons
            label = risks.sentence(risk, approval)
            self.fields[f"accept_{risk}"] = forms.BooleanField(label=label, required=False, widget=tick)

    def risks(self) -> list[BoundField]:
        """One checkbox for each risk that the evidence names."""
        return [self[f"accept_{risk}"] for risk in self._risks]

    def accepted(self) -> list[str]:
        """The risks whose checkboxes were ticked."""
        return [risk for risk in self._risks if self.cleaned_data.get(f"accept_{risk}")]

    def clean(self) -> dict[str, str]:
        """Refuse an approval with an inexact name, and a rejection without a reason."""
        chosen: dict[str, str] = self.cleaned_data
        if chosen.get("decision") == "approve" and chosen.get("confirm") != self.expected:
            self.add_error("confirm", _("Type it exactly as it is shown."))
        if chosen.get("decision") == "approve":
            for risk in set(self._risks) - set(self.accepted()):
                self.add_error(f"accept_{risk}", _("Tick this to approve, or reject the request."))
        if chosen.get("decision") == "reject" and not explains(chosen.get("reason", "")):
            none = _("Give the reason, so that the operator can correct the request.")
            self.add_error("reason", TOO_SHORT if chosen.get("reason") else none)
        return chosen


class DecidedFilter(forms.Form):
    """The filters for decided requests; every field may be empty."""

    state = ChoiceFilter(
        _("State"), _("All states"), *(choice for choice in State.choices if choice[0] != State.PENDING)
    )
    kind = ChoiceFilter(_("Kind"), _("All kinds"), *Kind.choices)
    environment = EnvironmentFilter()
    after = PlaceField()

    def requests(self) -> QuerySet[ApprovalRequest]:
        """The decided requests that match the filters, newest first. If a filter is invalid, no requests."""
        if not self.is_valid():
            return ApprovalRequest.objects.none()
        chosen = dict(self.cleaned_data)
        after = chosen.pop("after")
        found = ApprovalRequest.objects.exclude(state=State.PENDING).order_by("-pk")
        if after:
            found = found.filter(pk__lt=after)
        return found.filter(**{name: value for name, value in chosen.items() if value})
