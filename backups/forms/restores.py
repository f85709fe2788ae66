"""What a person fills in along a restore: what goes back where, why, and the confirmation; and the lists' filters."""

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from backups.models import Generation, Restore, RestoreEntry
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Namespace
from kvops.names import after_prefix, storable

LONGEST = 2_000
"""Characters of a reason, so that the evidence stays within its 64 KiB."""


class RestoreForm(forms.Form):
    """Which keys of a copy go back where, and what becomes of those that are there and different."""

    prefix = forms.CharField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Only keys that begin with"),
        required=False,
        strip=False,
        max_length=MAX_NAME_BYTES,
        help_text=_("Leave it empty to put back every key of the copy."),
        widget=forms.TextInput(attrs={"placeholder": "master:", "autocapitalize": "none", "spellcheck": "false"}),
    )
    namespace = forms.ModelChoiceField(Namespace.objects.none(), label=_("Into"), empty_label=None)
    on_conflict = forms.ChoiceField(
        label=_("When a key is there and not as in the copy"),
        choices=Restore.OnConflict.choices,
        initial=Restore.OnConflict.SKIP,
        widget=forms.RadioSelect,
    )

    def __init__(self, data: QueryDict | None = None, *, generation: Generation) -> None:
        super().__init__(data, initial={"namespace": generation.namespace_id})
        field = self.fields["namespace"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  (for the type checker)
        into = Namespace.objects.filter(binding=generation.namespace.binding).select_related("environment")
        if generation.environment.production:
            into = into.filter(environment__production=True)
        field.queryset = into.order_by("environment__order")

    def clean_prefix(self) -> str:
        """Refuse text that no key can begin with."""
        prefix: str = self.cleaned_data["prefix"]
        if prefix and (not storable(prefix) or len(prefix.encode()) > MAX_NAME_BYTES):
            raise forms.ValidationError(_("A prefix is text without NUL of at most 512 bytes."))
        return prefix


class SubmitForm(forms.Form):
    """Why keys are put back."""

    reason = forms.CharField(
        label=_("Why these keys are put back"),
        help_text=_("The reviewer reads this."),
        max_length=LONGEST,
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class StartForm(forms.Form):
    """The confirmation of a restore: the namespace's title, typed exactly."""

    confirm = forms.CharField(label=_("Title of the namespace"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, restore: Restore) -> None:
        super().__init__(data)
        self.expected = restore.namespace.title

    def clean_confirm(self) -> str:
        """Refuse anything but the title."""
        typed: str = self.cleaned_data["confirm"]
        if typed != self.expected:
            raise forms.ValidationError(_("Type it exactly as it is shown."))
        return typed


class RestoreFilter(forms.Form):
    """Which restores to show; every field may be empty."""

    STATES = (("", _("All states")), ("open", _("open")), *((s.value, s.label) for s in Restore.OVER))

    state = forms.ChoiceField(label=_("State"), required=False, choices=STATES)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def restores(self) -> QuerySet[Restore]:
        """What the filters let through, newest first; none while a filter is wrong."""
        if not self.is_valid():
            return Restore.objects.none()
        chosen = self.cleaned_data
        found = Restore.objects.select_related("environment", "namespace", "generation", "run", "stage").order_by("-pk")
        if chosen["state"] == "open":
            found = found.exclude(state__in=Restore.OVER)
        elif chosen["state"]:
            found = found.filter(state=chosen["state"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class NamesFilter(forms.Form):
    """Which names of a restore to show: all, those that were there and different, or those not put back."""

    LISTS = ("all", "conflicts", "left")

    show = forms.ChoiceField(required=False, choices=[(name, name) for name in LISTS])
    prefix = forms.CharField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Prefix"), required=False, strip=False, max_length=MAX_NAME_BYTES
    )
    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def shown(self) -> str:
        """The list that is asked for; all names when the address is wrong."""
        return (self.cleaned_data["show"] or "all") if self.is_valid() else "all"

    def entries(self, restore: Restore) -> QuerySet[RestoreEntry]:
        """What the filters let through, in order; none while a filter is wrong."""
        if not self.is_valid():
            return RestoreEntry.objects.none()
        found, chosen = restore.entries.order_by("index"), self.cleaned_data
        if self.shown() == "conflicts":
            found = found.exclude(found__in=["", RestoreEntry.Found.ABSENT, RestoreEntry.Found.EQUAL])
        elif self.shown() == "left":
            found = found.exclude(outcome__in=[*RestoreEntry.GOOD, *RestoreEntry.UNDER_WAY])
        if prefix := chosen["prefix"]:
            if not storable(prefix):
                return found.none()
            found = found.filter(name__gte=prefix)
            if (beyond := after_prefix(prefix)) is not None:
                found = found.filter(name__lt=beyond)
        return found.filter(index__gt=chosen["after"]) if chosen["after"] is not None else found
