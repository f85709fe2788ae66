"""Names of keys in the fields of forms: no browser turns one name into another."""

import pytest
from django import forms
from django.utils.html import escape
from hypothesis import example, given, strategies as st

from audit.forms import FilterForm
from kvops.names import invisible, typeable, typed
from kvops.web.fields import NameField, typed_names
from tests.test_odd_input import FormReader

SPELLINGS = ["[U+000A]", "[U+110000]", "[U+D800]", "[U+", "[", "]", "U+000A", "\n", "\r\n", "\r", "\t", "\ufffd", "é"]
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
NAMES |= st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=6).map("".join)


class _Form(forms.Form):
    name = NameField(required=False)


@given(name=NAMES)
@example(name="[[U+000A]")
def test_every_name_is_read_back_from_its_spelling(name: str) -> None:
    assert typed(typeable(name)) == name
    assert not any(map(invisible, typeable(name)))


@given(name=NAMES)
def test_a_form_that_shows_a_name_sends_the_same_name(name: str) -> None:
    page = f"<form>{_Form(initial={'name': name})['name']}</form>"
    [fields] = FormReader(page, "/").found.values()
    sent = _Form({"name": fields["name"].decode()})
    assert sent.is_valid()
    assert sent.cleaned_data["name"] == name
    assert f'value="{escape(typeable(name))}"' in str(sent["name"])


def test_what_no_key_can_have_in_its_name_is_refused() -> None:
    for text in ("a\0b", "a[U+0000]", "x" * 513, "é" * 257):
        assert "No key can have this" in str(_Form({"name": text}).errors["name"])


def test_a_list_of_names_has_one_on_a_line() -> None:
    assert typed_names("a\r\nb[U+000A]c\n\na") == ["a", "b\nc"]


@pytest.mark.django_db
def test_the_audit_log_reads_the_same_spelling() -> None:
    form = FilterForm({"key": "a[U+000A]b"})
    assert form.is_valid()
    assert form.cleaned_data["key"] == "a\nb"
    assert 'value="a[U+000A]b"' in str(form["key"])
