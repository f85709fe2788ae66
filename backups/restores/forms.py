"""The forms along a restore: keys, target, reason and confirmation; and the filters of the lists."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from backups.models import Generation, Restore, RestoreEntry
from backups.restores import cross_environment, selection as restore_selection
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Namespace
from kvops.models.inventory import beginning_with
from kvops.web.fields import (
    ChoiceFilter,
    ConfirmForm,
    ExplanationField,
    NameField,
    PlaceField,
    PrefixFilter,
    typed_names,
)
from kvops.wording import say

LONGEST = 2_000
"""Characters of a reason, so that the evidence stays within its 64 KiB."""


MOST_NAMES = 10_000
"""Names per paste, at most."""


class RestoreForm(forms.Form):
    """The keys of a backup to restore, the target, and the treatment of existing keys that differ.

    With `only` the form is about that one key. Names that the backup lacks are shown, and left out on request.
    """

    prefix = NameField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Only keys that begin with"), required=False, example="master:"
    )
    names = forms.CharField(
        label=_("Or only these keys"),
        required=False,
        strip=False,
        max_length=MOST_NAMES * MAX_NAME_BYTES,
        help_text=_(
            "One name per line, exactly as it is written; a line break in a name is written [U+000A]. Leave both "
            "empty to restore every key of the backup."
        ),
        widget=forms.Textarea(attrs={"rows": 3, "autocapitalize": "none", "spellcheck": "false"}),
    )
    leave_out = forms.BooleanField(label=_("Leave out the names that are not in the backup"), required=False)
    namespace = forms.ModelChoiceField(Namespace.objects.none(), label=_("Restore into"), empty_label=None)
    on_conflict = forms.ChoiceField(
        label=_("If a key differs from the backup"),
        choices=Restore.OnConflict.choices,
        initial=Restore.OnConflict.SKIP,
        widget=forms.RadioSelect,
    )

    def __init__(
        self, data: QueryDict | None = None, *, generation: Generation, only: str = "", on_conflict: str = ""
    ) -> None:
        chosen = {"on_conflict": on_conflict} if on_conflict in Restore.OnConflict.values else {}
        super().__init__(data, initial={"namespace": generation.namespace_id, **chosen})
        self.generation, self.only = generation, only
        self.unknown: list[str] = []
        field = self.fields["namespace"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  (for the type checker)
        into = Namespace.objects.filter(binding=generation.namespace.binding).select_related("environment")
        allowing = cross_environment.allowing(generation.namespace.binding) if generation.environment.production else []
        if generation.environment.production and not allowing:
            into = into.filter(environment__production=True)
            field.help_text = _(
                "Production keys can be restored into another environment only if their family has qa_may_take."
            )
        elif allowing:
            families = ", ".join(map(str, allowing))
            field.help_text = say(
                _("Only keys of %(families)s can be restored into another environment."), families=families
            )
        field.queryset = into.order_by("environment__order")

    def clean_names(self) -> list[str]:
        """The names exactly as entered, each once, without empty lines."""
        found = typed_names(self.cleaned_data["names"])
        if len(found) > MOST_NAMES:
            raise forms.ValidationError(_("At most 10,000 names at once. Give a prefix, or several restores."))
        return found

    def clean(self) -> dict[str, Any]:
        """Allow a prefix or a list, not both; reduce a list to the names in the backup."""
        chosen = super().clean() or self.cleaned_data
        if self.only or not chosen.get("names"):
            return chosen
        if chosen.get("prefix"):
            raise forms.ValidationError(_("Give a prefix or a list of names, not both."))
        self.unknown = restore_selection.not_in_backup(self.generation, chosen["names"])
        if len(self.unknown) == len(chosen["names"]):
            self.add_error("names", _("The backup contains none of these names."))
        elif self.unknown and not chosen["leave_out"]:
            text = say(
                _("Names that are not in the backup: %(count)s. They are listed below."), count=len(self.unknown)
            )
            self.add_error("names", str(text))
        return chosen

    def wanted(self) -> dict[str, Any]:
        """The arguments for `restore_selection.prepare_restore`."""
        chosen = self.cleaned_data
        names: list[str] | None = [self.only] if self.only else None
        if chosen["names"] and not self.only:
            unknown = set(self.unknown)
            names = [name for name in chosen["names"] if name not in unknown]
        return {
            "prefix": "" if names is not None else chosen["prefix"],
            "names": names,
            "namespace": chosen["namespace"],
            "on_conflict": chosen["on_conflict"],
        }


class SubmitForm(forms.Form):
    """The reason for the restore."""

    reason = ExplanationField(
        label=_("Reason for restoring these keys"),
        help_text=_("The reviewer reads this."),
        max_length=LONGEST,
    )


class RestoreStartForm(ConfirmForm):
    """The confirmation of a restore: the namespace's title, typed exactly."""

    confirm = forms.CharField(label=_("Title of the namespace"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, restore: Restore) -> None:
        super().__init__(data, expected=restore.namespace.title)


class RestoreFilter(forms.Form):
    """The filters of the restores; every field may be empty."""

    STATES = (("", _("All states")), ("open", _("open")), *((s.value, s.label) for s in Restore.OVER))

    state = forms.ChoiceField(label=_("State"), required=False, choices=STATES)
    after = PlaceField()

    def restores(self) -> QuerySet[Restore]:
        """The matching restores, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return Restore.objects.none()
        chosen = self.cleaned_data
        related = ("environment", "namespace", "generation", "run", "stage")
        found = Restore.objects.naming().restoring().select_related(*related).order_by("-pk")
        if chosen["state"] == "open":
            found = found.exclude(state__in=Restore.OVER)
        elif chosen["state"]:
            found = found.filter(state=chosen["state"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class RestoreNamesFilter(forms.Form):
    """The filters of a restore's names; every field may be empty."""

    CONFLICTS, LEFT = "conflicts", "left"

    found = ChoiceFilter(
        _("Before the restore"),
        _("All findings"),
        (CONFLICTS, _("different, or past the expiration")),
        *RestoreEntry.Found.choices,
    )
    outcome = ChoiceFilter(_("Result"), _("All results"), (LEFT, _("not restored")), *RestoreEntry.Outcome.choices)
    prefix = PrefixFilter(_("Prefix"))  # type: ignore[assignment]  # not the form's own prefix
    after = PlaceField(min_value=0)

    def entries(self, restore: Restore) -> QuerySet[RestoreEntry]:
        """The matching names in order; none if a filter is invalid."""
        if not self.is_valid():
            return RestoreEntry.objects.none()
        names, chosen = restore.entries.order_by("index"), self.cleaned_data
        if chosen.get("found") == self.CONFLICTS:
            names = names.exclude(found__in=["", RestoreEntry.Found.ABSENT, RestoreEntry.Found.EQUAL])
        elif chosen.get("found"):
            names = names.filter(found=chosen["found"])
        if chosen["outcome"] == self.LEFT:
            names = names.exclude(outcome__in=[*RestoreEntry.GOOD, *RestoreEntry.UNDER_WAY])
        elif chosen["outcome"]:
            names = names.filter(outcome=chosen["outcome"])
        names = beginning_with(names, chosen["prefix"])
        return names.filter(index__gt=chosen["after"]) if chosen["after"] is not None else names
