"""The forms along a clean-up: the request, the statements, the confirmations; and the filters of the lists."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.validators import URLValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.cleanup.references import StageHit
from backups.models import CleanupRequest, CleanupStage
from kvops import clock
from kvops.inventory import families as key_families
from kvops.inventory.selection import Selection
from kvops.models import Category, Family, Namespace, Person, ReferenceAnswer, Scan, ScanCount
from kvops.names import storable
from kvops.web.fields import ConfirmForm, ExplanationField, MomentField, NameField, PlaceField
from kvops.wording import spelled

CLEANABLE = (Category.CACHE, Category.LEGACY, Category.SETTINGS)
LONGEST = 2_000
"""Characters of a reason or a note, so that the evidence stays within its 64 KiB."""


class _Prose(ExplanationField):
    """An explanation of some sentences."""

    def __init__(self, label: Any, help_text: Any = "", rows: int = 3) -> None:
        super().__init__(label=label, help_text=help_text, max_length=LONGEST, rows=rows)


def _bindings() -> list[tuple[str, str]]:
    found = Namespace.objects.order_by("binding").values_list("binding", flat=True).distinct()
    return [(binding, binding) for binding in found]


class BeginForm(forms.Form):
    """The press that prepares a stage; with `leave_out`, the keys that differ from D1 stay."""

    leave_out = forms.BooleanField(required=False)


class CleanupFilter(forms.Form):
    """The filters of the clean-ups; every field may be empty."""

    STATES = (("", _("All states")), ("open", _("open")), ("completed", _("completed")), ("ended", _("ended")))

    state = forms.ChoiceField(label=_("State"), required=False, choices=STATES)
    binding = forms.ChoiceField(
        label=_("Binding"), required=False, choices=lambda: [("", _("All bindings")), *_bindings()]
    )
    after = PlaceField()

    def requests(self) -> QuerySet[CleanupRequest]:
        """The matching clean-ups, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return CleanupRequest.objects.none()
        chosen = self.cleaned_data
        found = CleanupRequest.objects.filter(clearing=None).order_by("-pk")
        if chosen["state"]:
            found = found.filter(
                ended_at__isnull=chosen["state"] != "ended", completed_at__isnull=chosen["state"] != "completed"
            )
        if chosen["binding"]:
            found = found.filter(binding=chosen["binding"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class AskForm(forms.Form):
    """A new clean-up: a family, or a prefix, and the reason."""

    binding = forms.ChoiceField(label=_("Binding"), choices=_bindings)
    family = forms.ChoiceField(
        label=_("Family"),
        required=False,
        help_text=_(
            "Settings are deleted one key at a time. Unclassified keys are not offered: they are never deleted."
        ),
    )
    prefix = NameField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Only keys that begin with"),
        required=False,
        help_text=_("Leave it empty to clean up the whole family. A line break is written [U+000A]."),
        example="master:",
    )
    exact = forms.BooleanField(
        label=_("Only the key with exactly this name"),
        required=False,
        help_text=_("Settings are deleted one key at a time: type its whole name above."),
    )
    without_expiration = forms.BooleanField(
        label=_("Only keys without an expiration"),
        required=False,
        help_text=_("For a cache: keys that expire by themselves stay."),
    )
    reason = _Prose(_("Reason for deleting these keys"), _("The reviewer reads this."))

    def __init__(self, data: QueryDict | None = None, *, asked: QueryDict | None = None) -> None:
        self.families = {
            str(family.pk): family
            for family in Family.objects.filter(category__in=CLEANABLE).order_by("binding", "pattern")
        }
        super().__init__(data, initial=self._asked_for(asked) if asked is not None else None)
        self.asked_keys = _pattern(asked) if asked is not None and self._offers(asked.get("binding", "")) else ""
        field = self.fields["family"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type checker)
        field.choices = [("", _("By the prefix below")), *_by_binding(self.families.values())]

    def _offers(self, binding: str) -> bool:
        field = self.fields["binding"]
        return isinstance(field, forms.ChoiceField) and field.valid_value(binding)

    def _asked_for(self, asked: QueryDict) -> dict[str, str | bool]:
        """The initial values from a link on the pages of the keys."""
        binding, prefix = asked.get("binding", ""), asked.get("prefix", "")
        family = key_families.family_of(binding, prefix) if storable(prefix) else None
        if family is None or str(family.pk) not in self.families:
            return {"binding": binding, "prefix": prefix}
        below = "" if prefix == family.pattern else prefix
        exact = asked.get("exact", "") == "1"
        chosen = {"without_expiration": True} if asked.get("without_expiration", "") == "1" else {}
        return {"binding": binding, "family": str(family.pk), "prefix": below, "exact": exact, **chosen}

    def clean(self) -> dict[str, Any]:
        """Derive one prefix from the two fields; refuse contradictions."""
        chosen: dict[str, Any] = self.cleaned_data
        family = self.families.get(chosen.get("family", ""))
        prefix = chosen.get("prefix", "")
        if "prefix" in self.errors:
            return chosen
        if family is None and not prefix:
            self.add_error("family", _("Choose a family, or enter the beginning of the keys."))
        elif family is not None and family.binding != chosen.get("binding"):
            self.add_error("family", _("This family belongs to another binding."))
        elif family is not None and prefix and not family.matches(prefix):
            self.add_error("prefix", _("This prefix is not part of the family above."))
        elif family is not None and not prefix:
            chosen["prefix"] = family.pattern
        chosen["only"] = Selection(without_expiration=chosen.get("without_expiration", False))
        return chosen


def _pattern(asked: QueryDict) -> str:
    """The keys that a link asks for, as a pattern; empty if it names none."""
    prefix = asked.get("prefix", "")
    return prefix if not prefix or asked.get("exact", "") == "1" else f"{prefix}*"


def _by_binding(families: Iterable[Family]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The families as choices, each with its number of keys in every environment at the newest scans."""
    groups: dict[str, list[tuple[str, str]]] = {}
    newest = ScanCount.objects.filter(scan__in=Scan.objects.newest_of_each().values("pk"))
    counted = {
        (family, namespace): keys
        for family, namespace, keys in newest.values_list("family_id", "scan__namespace_id", "keys")
    }
    namespaces = list(Namespace.objects.select_related("environment").order_by("environment__order"))
    for family in families:
        keys = " · ".join(
            f"{namespace.environment.name} {spelled(counted.get((family.pk, namespace.pk), 0))}"
            for namespace in namespaces
            if namespace.binding == family.binding
        )
        label = f"{family} – {family.get_category_display()} – {keys}"
        groups.setdefault(family.binding, []).append((str(family.pk), label))
    return list(groups.items())


class ArrangeForm(forms.Form):
    """The ticket of a clean-up, and until when the writers of its keys are frozen; all may be empty."""

    ticket = forms.URLField(
        label=_("Ticket"),
        required=False,
        max_length=500,
        assume_scheme="https",
        validators=[URLValidator(schemes=["http", "https"])],
        help_text=_("An address that begins with https:// or http://."),
    )
    frozen_until = MomentField(
        label=_("Writers are frozen until"),
        required=False,
        help_text=_("No deletion starts after this time; one that has started continues."),
    )
    frozen_by = forms.CharField(label=_("Person or team that froze the writers"), required=False, max_length=200)

    def clean(self) -> dict[str, Any]:
        """Require a time and a name together."""
        chosen: dict[str, Any] = self.cleaned_data
        if chosen.get("frozen_until") and chosen["frozen_until"] <= clock.now():
            self.add_error("frozen_until", _("Enter a time in the future."))
        if chosen.get("frozen_until") and not chosen.get("frozen_by"):
            self.add_error("frozen_by", _("Name who froze the writers."))
        if chosen.get("frozen_by") and not chosen.get("frozen_until") and "frozen_until" not in self.errors:
            self.add_error("frozen_until", _("Enter the time until which the writers are frozen."))
        return chosen


class ExplainedAnswers(forms.RadioSelect):
    """Radio buttons with a sentence beside each choice: when it is right, and what follows from it."""

    sentences: Mapping[str, str | Promise] = {
        ReferenceAnswer.Kind.UNRELATED: _(
            "Right if this code never uses these keys: the answer counts in every environment until the code changes, "
            "and nothing is left to do."
        ),
        ReferenceAnswer.Kind.FALLS_BACK: _(
            "Right if this code works without these keys, such as by reading D1 or making the value again: the answer "
            "counts in every environment until the code changes, and you test it before you accept the stage."
        ),
        ReferenceAnswer.Kind.FOLLOW_UP: _(
            "Right if this code must change: it is a to-do of its owner until a later search no longer finds the place."
        ),
    }

    def create_option(self, name: str, value: Any, *more: Any, **named: Any) -> dict[str, Any]:
        """The option with its sentence. A follow-up unfolds its own fields."""
        option = super().create_option(name, value, *more, **named)
        if value == ReferenceAnswer.Kind.FOLLOW_UP:
            option["attrs"]["data-unfolds"] = "follow-up"
        return {**option, "sentence": self.sentences.get(str(value), "")}


class AnswerForm(forms.Form):
    """A person's answer to one or several code references."""

    hits = forms.TypedMultipleChoiceField(
        label=_("Code references"),
        coerce=int,
        error_messages={"required": _("Choose at least one code reference.")},
    )
    kind = forms.ChoiceField(label=_("Answer"), choices=ReferenceAnswer.Kind, widget=ExplainedAnswers)
    reason = _Prose(_("Reason for the answer"), _("The reviewer reads this."))
    follow_up = forms.ChoiceField(
        label=_("Change to make"), required=False, choices=[("", "–"), *ReferenceAnswer.FollowUp.choices]
    )
    owner = forms.ModelChoiceField(Person.objects.none(), label=_("Owner"), required=False, empty_label="–")
    due = forms.DateField(label=_("Due date"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: QueryDict | None = None, *, found: Iterable[StageHit]) -> None:
        super().__init__(data)
        hits, owner = self.fields["hits"], self.fields["owner"]
        assert isinstance(hits, forms.TypedMultipleChoiceField)  # noqa: S101  (for the type checker)
        assert isinstance(owner, forms.ModelChoiceField)  # noqa: S101
        hits.choices = [(one.hit.pk, one.place) for one in found]
        owner.queryset = Person.objects.filter(logins__is_active=True).distinct().order_by("name")

    def clean(self) -> dict[str, Any]:
        """A follow-up has a change, an owner, and a due date that is not past."""
        chosen: dict[str, Any] = self.cleaned_data
        if chosen.get("kind") != ReferenceAnswer.Kind.FOLLOW_UP:
            return chosen
        for name in ("follow_up", "owner", "due"):
            if not chosen.get(name) and name not in self.errors:
                self.add_error(name, _("A follow-up needs the change to make, an owner and a due date."))
        if chosen.get("due") and chosen["due"] < timezone.localdate():
            self.add_error("due", _("The due date is in the past."))
        return chosen


class DeletionStartForm(ConfirmForm):
    """The confirmation of a deletion: the namespace's title, typed exactly."""

    confirm = forms.CharField(label=_("Title of the namespace"), strip=False)

    def __init__(self, data: QueryDict | None = None, *, stage: CleanupStage) -> None:
        super().__init__(data, expected=stage.namespace.title)


class ShareForm(forms.Form):
    """The place where a person shared the backup, and the people it was shared with."""

    place = forms.CharField(
        label=_("Place and people you shared it with"), max_length=LONGEST, widget=forms.Textarea(attrs={"rows": 2})
    )


class LeftoversForm(forms.Form):
    """A person's explanation of the leftovers."""

    note = _Prose(_("Reason for the leftover keys and next step"))


class OthersForm(forms.Form):
    """A person's explanation of the keys under the prefix that are not of the clean-up."""

    note = _Prose(
        _("Reason that the other keys are there, and next step"),
        _("The certificate shows this, and the reviewer of the next environment reads it."),
    )


class ReappearedForm(forms.Form):
    """A person's findings about reappeared keys; `last` is the newest row that they saw."""

    note = _Prose(_("Cause of the reappearance and next step"))
    last = forms.IntegerField(min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)


class AcceptForm(forms.Form):
    """A person's test after the deletion; for a stage without names, the reason why there are none."""

    note = _Prose("")
    go_on = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict | None = None, *, stage: CleanupStage) -> None:
        super().__init__(data)
        tried = _("Your test of the application and its result")
        self.fields["note"].label = tried if stage.names else _("Reason that no such keys exist")


class EndForm(forms.Form):
    """The reason for ending a clean-up."""

    reason = _Prose(_("Reason for ending the clean-up"), rows=2)


class ListForm(forms.Form):
    """The shown list of a stage, and the position where the page begins."""

    LISTS = ("names", "chunks", "exceptions", "others", "left_out", "reappeared")

    show = forms.ChoiceField(required=False, choices=[(name, name) for name in LISTS])
    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)

    def chosen(self) -> tuple[str, int | None]:
        """The list and the position to continue after; the first names if the address is invalid."""
        if not self.is_valid():
            return "names", None
        return self.cleaned_data["show"] or "names", self.cleaned_data["after"]
