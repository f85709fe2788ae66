"""The forms along a change: the editor, the reasons, the confirmation; and the filters of the list."""

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.translation import gettext, gettext_lazy as _

from backups.changes import qa
from backups.changes.propose import LONGEST
from backups.models import KeyChange
from kvops import clock
from kvops.cloudflare import metadata_text
from kvops.inventory import reveal as key_reveal
from kvops.web.fields import ConfirmForm, EnvironmentFilter, ExplanationField, MomentField, NameField, PlaceField
from kvops.wording import moment

REASON = 2_000
"""Characters of a reason, so that the evidence stays within its 64 KiB."""

PARTS = ("value", "metadata", "expiration")
"""What the editor keeps or sets."""
_CODE = {"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off", "class": "font-monospace"}


class EditorForm(forms.Form):
    """The editor: value, metadata and expiration of a key, each kept or set."""

    name = NameField(label=_("Name of the key"), example="mail:smtp")
    new = forms.BooleanField(label=_("This is a new key"), required=False)
    base = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    keep_value = forms.BooleanField(label=_("Leave the value as it is"), required=False)
    value = forms.CharField(
        label=_("New value"),
        required=False,
        strip=False,
        help_text=_("Line breaks are written as the old value has them, in a new key as LF."),
        widget=forms.Textarea(attrs={"rows": 12, **_CODE}),
    )
    keep_metadata = forms.BooleanField(label=_("Leave the metadata as it is"), required=False)
    metadata = forms.CharField(
        label=_("New metadata (JSON)"),
        required=False,
        help_text=_("Empty for none."),
        widget=forms.Textarea(attrs={"rows": 3, **_CODE}),
    )
    keep_expiration = forms.BooleanField(label=_("Leave the expiration as it is"), required=False)
    expiration = MomentField(
        label=_("New expiration"), required=False, help_text=_("Empty for never. KV deletes the key at this time.")
    )
    confirm = forms.BooleanField(label=_("This is meant: propose it all the same"), required=False)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.creates:
            self.fields["new"].widget = forms.HiddenInput()
            return
        for part in PARTS:
            self.fields[part].widget.attrs["data-unticks"] = f"keep_{part}"

    @property
    def creates(self) -> bool:
        """Whether the key is new, so that it has nothing to keep."""
        return bool(self["new"].value())

    def clean_value(self) -> str:
        """Refuse a value that is too long."""
        value: str = self.cleaned_data["value"]
        if len(value.encode("utf-8", "surrogatepass")) > LONGEST:
            raise forms.ValidationError(_("A new value has at most 64 KiB, so that the reviewer can see all of it."))
        return value

    def clean_metadata(self) -> str | None:
        """The metadata as KV returns it; None for none."""
        typed: str = self.cleaned_data["metadata"]
        if not typed.strip() or self.data.get("keep_metadata"):
            return None
        try:
            return metadata_text(typed)
        except ValueError as error:
            raise forms.ValidationError(_("Metadata is JSON of at most 1,024 bytes.")) from error

    def clean_expiration(self) -> datetime | None:
        """Refuse a time that has passed."""
        typed: datetime | None = self.cleaned_data["expiration"]
        if typed is not None and typed <= clock.now() and not self.data.get("keep_expiration"):
            raise forms.ValidationError(_("This time has passed."))
        return typed

    def clean(self) -> dict[str, Any]:
        """Refuse a form that keeps everything, and one that keeps a part and sets it as well."""
        chosen = super().clean() or self.cleaned_data
        for part in PARTS:
            if chosen.get(f"keep_{part}") and str(self.data.get(part, "")).strip():
                self.add_error(part, _("You filled this in and left it as it is. Untick one, or empty the field."))
        kept = [chosen.get(f"keep_{part}") for part in PARTS]
        if all(kept) and not chosen.get("new"):
            raise forms.ValidationError(_("Choose what changes: the value, the metadata or the expiration."))
        return chosen


class RevealReasonForm(forms.Form):
    """The reason for revealing a value. It stands beside other forms with a reason, so its ids are its own."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "auto_id": "reveal_%s"})

    reason = ExplanationField(
        label=_("Reason for revealing the value"),
        help_text=_("It is kept in the audit log and in the runbook. Leave the value out."),
        max_length=key_reveal.LONGEST,
        rows=2,
    )


class LoadForm(RevealReasonForm):
    """The key to load into the editor. The name is in the form, because its address has no query."""

    name = NameField(widget=forms.HiddenInput)


class AcceptedField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """An accepted change of QA: changes of one key are told apart by number, time and person."""

    def label_from_instance(self, obj: KeyChange) -> str:
        """The change, when it was accepted and by whom."""
        facts = {"pk": obj.pk, "environment": obj.environment.name, "person": obj.accepted_by}
        sentence = gettext("Change %(pk)s in %(environment)s, accepted on %(time)s by %(person)s")
        return sentence % {**facts, "time": moment(obj.accepted_at)}


class SubmitChangeForm(forms.Form):
    """The reason for the change; in production also the change of QA, or the reason why QA does not apply."""

    reason = ExplanationField(
        label=_("Reason for the change"),
        help_text=_("The reviewer reads this. Leave the value out."),
        max_length=REASON,
    )
    repeats = AcceptedField(
        KeyChange.objects.none(),
        label=_("Accepted change in QA that this one repeats"),
        help_text=_("A change of the same key in the last 7 days that changed at least the same parts."),
        required=False,
    )
    no_qa_because = ExplanationField(
        label=_("Or the reason why QA does not apply"),
        help_text=_("The reviewer accepts this risk by its name."),
        required=False,
        max_length=REASON,
        rows=2,
    )

    def __init__(self, data: QueryDict | None = None, *, change: KeyChange) -> None:
        super().__init__(data)
        if not qa.comes_first(change):
            del self.fields["repeats"], self.fields["no_qa_because"]
            return
        field = self.fields["repeats"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  (for the type checker)
        field.queryset = qa.accepted_before(change)
        field.empty_label = _("none")
        field.initial = field.queryset.first()
        if not qa.reason_allowed(change):
            del self.fields["no_qa_because"]

    def clean(self) -> dict[str, Any]:
        """The fields, with those left out as empty. Refuse a reason beside a change, which would be dropped."""
        chosen = {"repeats": None, "no_qa_because": "", **(super().clean() or self.cleaned_data)}
        if chosen["repeats"] and chosen["no_qa_because"].strip():
            self.add_error("no_qa_because", _("Choose “none” above and keep the reason, or leave the reason empty."))
        return chosen


class ChangeStartForm(ConfirmForm):
    """The confirmation of a change: the namespace's title, typed exactly."""

    confirm = forms.CharField(label=_("Title of the namespace"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, change: KeyChange) -> None:
        super().__init__(data, expected=change.namespace.title)


class AcceptChangeForm(forms.Form):
    """The note that the application works."""

    note = ExplanationField(
        label=_("What you tried in the application, and that it works"),
        max_length=REASON,
    )


class ChangeFilter(forms.Form):
    """The filters of the changes; every field may be empty."""

    STATES = (("", _("All states")), ("open", _("open")), *((s.value, s.label) for s in KeyChange.OVER))

    environment = EnvironmentFilter()
    state = forms.ChoiceField(label=_("State"), required=False, choices=STATES)
    after = PlaceField()

    def changes(self) -> QuerySet[KeyChange]:
        """The matching changes, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return KeyChange.objects.none()
        chosen = self.cleaned_data
        found = KeyChange.objects.select_related("environment", "namespace", "asked_by", "run").order_by("-pk")
        if chosen["environment"]:
            found = found.filter(environment=chosen["environment"])
        if chosen["state"] == "open":
            found = found.exclude(state__in=KeyChange.OVER)
        elif chosen["state"]:
            found = found.filter(state=chosen["state"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found
