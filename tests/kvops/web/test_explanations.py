"""An explanation has at least ten characters that are not one letter repeated, in every form and in every act."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from django import forms
from django.forms.forms import DeclarativeFieldsMetaclass

import backups
import kvops
from kvops.refusals import Refused
from kvops.web.fields import ExplanationField
from kvops.wording import TOO_SHORT, explains, insist_explained

EXEMPT = {
    ("DecisionForm", "reason"): "needed to reject only, and checked there",
    ("OptionalReasonForm", "reason"): "no step fails for it",
    ("FamilyForm", "note"): "a note; the registration checks it where it is a reason",
    ("CaseForm", "note"): "a note for the one who looks",
}
NAMES = {"reason", "note", "no_qa_because", "findings", "explanation"}


def forms_of_the_product() -> Iterator[DeclarativeFieldsMetaclass]:
    for package in (kvops, backups):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "form" in module.name.rpartition(".")[2] or module.name == "kvops.web.fields":
                for one in vars(import_module(module.name)).values():
                    if isinstance(one, DeclarativeFieldsMetaclass) and one.__module__ == module.name:
                        yield one


def test_each_field_for_a_reason_is_one_for_explanations() -> None:
    found = {
        (form.__name__, name): type(field)
        for form in forms_of_the_product()
        for name, field in form.base_fields.items()  # type: ignore[attr-defined]
        if name in NAMES
    }
    assert len(found) > 20
    assert {which for which, kind in found.items() if not issubclass(kind, ExplanationField)} == EXEMPT.keys()


@pytest.mark.parametrize("text", ["", "x", "nine char", "aaaaaaaaaaaa", "a a a a a a a a", "aAaAaAaAaAaA", " " * 20])
def test_this_is_no_explanation(text: str) -> None:
    assert not explains(text)


@pytest.mark.parametrize("text", ["ten chars!", "もう使われていないため", "aaaaaaaaab"])
def test_this_is_one(text: str) -> None:
    assert explains(text)
    assert ExplanationField().clean(text) == text


def test_the_field_says_what_is_missing_and_the_browser_says_it_first() -> None:
    with pytest.raises(forms.ValidationError, match="at least ten characters"):
        ExplanationField().clean("too short")
    assert ExplanationField().widget.attrs["minlength"] == "10"
    assert ExplanationField(required=False).clean("") == ""


@pytest.mark.parametrize(
    ("text", "told"), [(" ", "Say why."), ("because", str(TOO_SHORT)), ("eeeeeeeeeee", str(TOO_SHORT))]
)
def test_an_act_without_an_explanation_is_refused(text: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        insist_explained(text, Refused, "Say why.")
    assert str(refused.value) == told
    insist_explained("The application reads D1.", Refused, "Say why.")
