"""The filters of the page of objects, and a person's note about objects."""

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from backups.models import StoredObject
from kvops.models import Environment
from kvops.models.inventory import beginning_with
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, ExplanationField, PlaceField

WRONG = "wrong"
Status = StoredObject.Status


class ObjectFilter(forms.Form):
    """The filters of the objects and the name to start from; every field may be empty."""

    environment = EnvironmentFilter()
    status = ChoiceFilter(
        _("Status"), _("All statuses"), (WRONG, _("all objects that need attention")), *Status.choices
    )
    prefix = forms.CharField(  # type: ignore[assignment]  # not the form's own prefix
        label=pgettext_lazy("object", "Name begins with"),
        required=False,
        max_length=1024,
        widget=forms.TextInput(attrs={"placeholder": "backups/kv/"}),
    )
    after = PlaceField()

    def objects(self) -> QuerySet[StoredObject]:
        """The objects in the order of their names; none if a filter is invalid or no name can match."""
        found = self.matching().select_related("environment", "generation", "noted_by").order_by("key", "pk")
        if not self.is_valid() or not self.cleaned_data["after"]:
            return found
        last = StoredObject.objects.filter(pk=self.cleaned_data["after"]).first()
        # The plain bound on `key` lets the database start reading the index there.
        return found.filter(Q(key__gt=last.key) | Q(pk__gt=last.pk), key__gte=last.key) if last else found.none()

    def matching(self) -> QuerySet[StoredObject]:
        """All matching objects, on all pages."""
        if not self.is_valid():
            return StoredObject.objects.none()
        chosen = self.cleaned_data
        found = StoredObject.objects.needing_a_look() if chosen["status"] == WRONG else StoredObject.objects.all()
        if chosen["status"] in Status:
            found = found.filter(status=chosen["status"])
        if chosen["environment"]:
            found = found.filter(environment=chosen["environment"])
        return beginning_with(found, chosen["prefix"], "key")

    def notable(self) -> Environment | None:
        """The environment whose objects can be noted together.

        The filter must be limited to objects that need a look.
        """
        if not self.is_valid() or self.cleaned_data["status"] in {"", Status.KNOWN}:
            return None
        chosen: Environment | None = self.cleaned_data["environment"]
        return chosen


class NoteForm(forms.Form):
    """A person's explanation of objects."""

    note = ExplanationField(
        label=_("Description of the objects and your findings"),
        max_length=2000,
        rows=2,
    )
