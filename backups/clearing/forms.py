"""The forms of a scheduled clearing: the rule, its change, its approval, an answer and an acceptance."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from backups.cleanup.references import StageHit
from backups.clearing.references import KINDS
from backups.models import Clearing
from backups.models.clearing import MOST
from kvops.approvals.standing import LONGEST
from kvops.inventory.selection import LONGEST_HOURS, Selection
from kvops.models import Category, Environment, Family, Namespace
from kvops.web.fields import ConfirmForm, ExplanationField, FamilyField, NameField

LONGEST_TEXT = 2_000
"""Characters of a reason or a note, so that the evidence stays within its 64 KiB."""


class _Timed(forms.Form):
    """The cap and the due times of a rule, with the reason."""

    cap = forms.IntegerField(
        label=_("Keys of a round, at most"),
        min_value=1,
        max_value=MOST,
        initial=1_000,
        help_text=_("If the rule takes more keys, the round deletes none and says so."),
    )
    expression = forms.CharField(
        label=_("Due times, as a cron expression"),
        max_length=100,
        initial="30 3 * * *",
        help_text=_("Minute, hour, day, month, weekday: 30 2 * * 1-5 is half past two from Monday to Friday."),
    )
    zone = forms.ChoiceField(
        label=_("Time zone"),
        initial=settings.TIME_ZONE,
        choices=lambda: [(name, name) for name in sorted(available_timezones())],
    )
    reason = ExplanationField(
        label=_("Reason for the rule"),
        max_length=LONGEST_TEXT,
        help_text=_("The reviewer reads this."),
    )


class ClearingRuleForm(_Timed):
    """A new rule: a cache family in one environment, which of its keys, how many and when."""

    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"), label=_("Environment"), to_field_name="slug", empty_label=None
    )
    family = FamilyField(
        Family.objects.filter(category=Category.CACHE, exact=False).order_by("binding", "pattern"),
        label=_("Cache"),
        empty_label=None,
    )
    prefix = NameField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Only keys that begin with"), required=False, help_text=_("Leave it empty for the whole family.")
    )
    without_expiration = forms.BooleanField(label=_("Only keys without an expiration"), required=False)
    member = forms.CharField(
        label=_("Member of the metadata"), required=False, max_length=100, help_text=_("Leave it empty for all keys.")
    )
    equals = forms.CharField(label=_("… equals"), required=False, max_length=200)
    older_hours = forms.IntegerField(
        label=_("… is a time older than, in hours"), required=False, min_value=1, max_value=LONGEST_HOURS
    )

    field_order = (
        "environment", "family", "prefix", "without_expiration", "member", "equals", "older_hours", "cap",
        "expression", "zone", "reason",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Find the namespace, and derive the prefix and the selection."""
        chosen: dict[str, Any] = self.cleaned_data
        family, environment = chosen.get("family"), chosen.get("environment")
        if family is None or environment is None or self.errors:
            return chosen
        namespace = Namespace.objects.filter(environment=environment, binding=family.binding).first()
        if namespace is None:
            self.add_error("family", _("This environment has no such binding."))
        chosen["namespace"] = namespace
        chosen["prefix"] = chosen["prefix"] or family.pattern
        chosen["only"] = Selection(
            without_expiration=chosen["without_expiration"],
            member=chosen["member"],
            equals=chosen["equals"],
            older_hours=chosen["older_hours"] or 0,
        )
        return chosen


class ClearingChangeForm(_Timed):
    """Another cap, other due times or another reason."""


class ClearingAskForm(forms.Form):
    """The validity of the standing approval."""

    days = forms.IntegerField(label=_("Days the approval is valid"), min_value=1, max_value=LONGEST, initial=LONGEST)


class RoundStartForm(ConfirmForm):
    """The confirmation of a round that a person starts: the namespace's title, typed exactly."""

    confirm = forms.CharField(label=_("Title of the namespace"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, clearing: Clearing) -> None:
        super().__init__(data, expected=clearing.namespace.title)


class RoundAcceptForm(forms.Form):
    """A person's test of the application after a round."""

    note = ExplanationField(
        label=_("Your test of the application and its result"),
        max_length=LONGEST_TEXT,
    )


class WriterAnswerForm(forms.Form):
    """A person's answer to places that write or delete the keys."""

    hits = forms.TypedMultipleChoiceField(
        coerce=int, error_messages={"required": _("Choose at least one code reference.")}
    )
    kind = forms.ChoiceField(
        label=_("Answer"), choices=[(kind.value, kind.label) for kind in KINDS], widget=forms.RadioSelect
    )
    reason = ExplanationField(label=_("Reason for the answer"), max_length=LONGEST_TEXT, rows=2)

    def __init__(self, data: Any = None, *, found: Iterable[StageHit]) -> None:
        super().__init__(data)
        hits = self.fields["hits"]
        assert isinstance(hits, forms.TypedMultipleChoiceField)  # noqa: S101  (for the type checker)
        hits.choices = [(one.hit.pk, one.place) for one in found]
