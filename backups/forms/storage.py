"""The filters of the page of objects."""

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from backups.models import StoredObject
from kvops.models import Environment
from kvops.names import after_prefix, storable

WRONG = "wrong"
Status = StoredObject.Status


class ObjectFilter(forms.Form):
    """Which objects to show, from which on; every field may be empty."""

    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"),
        label=_("Environment"),
        required=False,
        to_field_name="slug",
        empty_label=_("All environments"),
    )
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[("", _("All statuses")), (WRONG, _("all that is wrong")), *Status.choices],
    )
    prefix = forms.CharField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Name begins with"),
        required=False,
        max_length=1024,
        widget=forms.TextInput(attrs={"placeholder": "backups/kv/"}),
    )
    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def objects(self) -> QuerySet[StoredObject]:
        """The objects in the order of their names; none while a filter is wrong or no name can match."""
        if not self.is_valid():
            return StoredObject.objects.none()
        chosen = self.cleaned_data
        found = StoredObject.objects.select_related("environment", "generation").order_by("key", "pk")
        if chosen["environment"]:
            found = found.filter(environment=chosen["environment"])
        if chosen["status"]:
            statuses = [s for s in Status if s != Status.KNOWN] if chosen["status"] == WRONG else [chosen["status"]]
            found = found.filter(status__in=statuses)
        if prefix := chosen["prefix"]:
            found = found.filter(key__gte=prefix) if storable(prefix) else found.none()
            if (end := after_prefix(prefix)) is not None:
                found = found.filter(key__lt=end)
        if not chosen["after"]:
            return found
        last = StoredObject.objects.filter(pk=chosen["after"]).first()
        return found.filter(Q(key=last.key, pk__gt=last.pk) | Q(key__gt=last.key)) if last else found.none()
