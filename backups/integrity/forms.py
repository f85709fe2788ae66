"""The filter of a check's differences, and the forms of a case."""

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet, TextChoices
from django.utils.translation import gettext_lazy as _

from backups.integrity import cases
from backups.models import Check, Difference, DifferenceCase
from kvops.models import Person
from kvops.models.inventory import beginning_with
from kvops.names import storable
from kvops.runbook import todo
from kvops.web.fields import ChoiceFilter, ExplanationField, NameField, PlaceField

DUE = timedelta(days=7)
"""The due date that is proposed for a case."""


class KeyMatch(TextChoices):
    """How the text of the filter stands in the key."""

    CONTAINS = "contains", _("contains")
    STARTS = "starts", _("starts with")


class DifferenceFilter(forms.Form):
    """The filters of the differences; every field may be empty."""

    kind = ChoiceFilter(_("Kind"), _("All kinds"), *Difference.Kind.choices)
    field = ChoiceFilter(_("Field"), _("All fields"))
    match = ChoiceFilter(_("Key"), KeyMatch.CONTAINS.label, (KeyMatch.STARTS.value, KeyMatch.STARTS.label))
    key = NameField(label=_("Text in the key"), required=False)
    after = PlaceField()

    def __init__(self, data: Any = None, *, check: Check) -> None:
        super().__init__(data)
        self.of_check = check
        kind, field = self.fields["kind"], self.fields["field"]
        assert isinstance(kind, forms.ChoiceField)  # noqa: S101  (for the type checker)
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type checker)
        kind.widget = forms.HiddenInput()  # the page has a link for each kind
        kind.choices = [("", _("All kinds")), *((one, check.label_of(one)) for one in Difference.Kind.values)]
        # As many as the dataset and the values have fields, at most as many as differences are kept.
        names = check.found.exclude(field="").order_by("field").values_list("field", flat=True).distinct()
        field.choices = [("", _("All fields")), *((name, name) for name in names)]

    def differences(self) -> QuerySet[Difference]:
        """The differences of the check in the order they were found; none if a filter is invalid."""
        if not self.is_valid():
            return Difference.objects.none()
        chosen = self.cleaned_data
        found = self.of_check.found.order_by("pk")
        for name in ("kind", "field"):
            if chosen[name]:
                found = found.filter(**{name: chosen[name]})
        if chosen["key"]:
            found = self._with_key(found, chosen["key"])
        return found.filter(pk__gt=chosen["after"]) if chosen["after"] else found

    def _with_key(self, found: QuerySet[Difference], text: str) -> QuerySet[Difference]:
        if self.cleaned_data["match"] == KeyMatch.STARTS:
            return beginning_with(found, text)
        return found.filter(name__contains=text) if storable(text) else found.none()


class CaseForm(forms.Form):
    """The person who looks into the differences, until a day."""

    owner = forms.ModelChoiceField(Person.objects.none(), label=_("Who looks into it"), empty_label=None)
    due = forms.DateField(label=_("Due date"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    note = forms.CharField(
        label=_("Note"), required=False, max_length=cases.LONGEST, widget=forms.Textarea(attrs={"rows": 2})
    )

    def __init__(self, data: Any = None, *, case: DifferenceCase | None = None, person: Person | None = None) -> None:
        initial: dict[str, object] = {"owner": person.pk if person else None, "due": todo.today() + DUE}
        if case:
            initial = {"owner": case.owner_id, "due": case.due, "note": case.note}
        super().__init__(data, initial=initial)
        able = Person.objects.filter(grants__revoked_at=None, grants__isnull=False, logins__is_active=True)
        self.fields["owner"].queryset = able.distinct().order_by("name")  # type: ignore[attr-defined]


class OutcomeForm(forms.Form):
    """The outcome of a case."""

    outcome = forms.ChoiceField(
        label=_("Outcome"),
        choices=[(one.value, one.label) for one in DifferenceCase.CHOSEN],
        widget=forms.RadioSelect,
    )
    reason = ExplanationField(
        label=_("Reason"),
        required=False,
        max_length=cases.LONGEST,
        help_text=_("Needed for differences that are accepted or unexplained."),
        rows=2,
    )
