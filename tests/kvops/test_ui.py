"""The building blocks of the pages."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from django import forms
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.utils import timezone, translation

from kvops.operations.registry import STATES


def shown(template: str, **context: object) -> str:
    return Template("{% load ui %}" + template).render(Context(context))


@dataclass
class UiEnvironment:
    name: str
    production: bool


@dataclass
class UiStep:
    title: str
    state: str
    note: str = ""


def test_production_is_named_and_coloured_unlike_qa() -> None:
    production = shown("{% environment_badge it %}", it=UiEnvironment("Live", production=True))
    qa = shown("{% environment_badge it %}", it=UiEnvironment("QA", production=False))
    assert "env-production" in production
    assert "(production)" in production
    assert "env-other" in qa


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_word_a_colour_and_an_icon(state: str) -> None:
    badge = shown("{% state_badge it %}", it=state)
    assert str(STATES[state].word) in badge
    assert f"status-{STATES[state].colour}" in badge
    assert "<svg" in badge


def test_a_state_without_an_entry_is_shown_as_it_is() -> None:
    assert "Never heard of" in shown("{% state_badge 'never_heard_of' %}")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5_300_000, "5.1 MiB"), (2**50, "1,024.0 TiB")]
)
def test_a_size_is_shown_in_powers_of_1024(size: int, text: str) -> None:
    assert shown("{{ it|bytes }}", it=size) == text


def test_a_count_has_separators_and_nothing_is_a_dash() -> None:
    assert shown("{{ it|count }}", it=1_204_567) == "1,204,567"
    assert "–" in shown("{{ it|count }}", it=None)


LONG_AGO = datetime(2026, 1, 25, 0, 12, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "text"), [("en", "23\xa0hours, 59\xa0minutes · 30\xa0minutes"), ("ja", "23時間59分 · 30分")]
)
def test_the_time_left_is_joined_as_the_language_does(language: str, text: str) -> None:
    at = [timezone.now() + timedelta(seconds=seconds) for seconds in (86_390, 1_830)]
    with translation.override(language):
        assert shown("{{ at.0|left_until }} · {{ at.1|left_until }}", at=at) == text


@pytest.mark.parametrize("form", ["{% when it %}", "{% when it exact=True %}"])
def test_a_moment_is_in_the_teams_zone_with_utc_on_hover(form: str) -> None:
    text = shown(form, it=LONG_AGO)
    assert 'datetime="2026-01-25T00:12:03+00:00"' in text
    assert 'title="2026-01-25 00:12:03 UTC"' in text
    assert "2026-01-25 09:12 <small" in text
    assert "JST" in text


def test_a_recent_moment_is_in_words_with_the_full_time_on_tap_and_hover() -> None:
    at = timezone.now() - timedelta(hours=3, minutes=5)
    text = shown("{% when it %}", it=at)
    assert 'tabindex="-1"><span>3 hours ago</span>' in text
    assert f'<span class="when-full"> {timezone.localtime(at):%Y-%m-%d %H:%M} <small' in text
    assert f'JST = {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"' in text


@pytest.mark.parametrize("form", ["{% when it seconds=True %}", "{% when it exact=True %}"])
def test_a_record_and_a_moment_in_a_sentence_are_never_in_words(form: str) -> None:
    assert " ago" not in shown(form, it=timezone.now() - timedelta(hours=3))


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("a\u202eb", "RIGHT-TO-LEFT OVERRIDE"),
        ("a\0b", "U+0000"),
        ("a\u200bb", "ZERO WIDTH SPACE"),
        ("a\u00a0b", "NO-BREAK SPACE"),
        (" a", "␣"),
        ("a\ufffd", "REPLACEMENT CHARACTER"),
    ],
)
def test_what_could_deceive_the_eye_in_a_name_is_visible(name: str, mark: str) -> None:
    text = shown("{% key_name it %}", it=name)
    assert mark in text
    assert not set(name[1:-1]) & set(text.replace("a", "").replace("b", "")) - {" "}


def test_a_name_is_escaped_and_bytes_outside_utf8_are_spelled() -> None:
    assert "&lt;script&gt;" in shown("{% key_name it %}", it="<script>")
    assert r"a\xff" in shown("{% key_name it %}", it=b"a\xff")


@pytest.mark.parametrize(
    ("name", "text"),
    [("a:1", "a:1"), ("a\u202eb", "a[U+202E]b"), ("a\r\nb", "a[U+000D][U+000A]b"), ("薬局\u3000１", "薬局\u3000１")],
)
def test_a_name_in_plain_text_is_one_line_without_hidden_marks(name: str, text: str) -> None:
    assert shown("{{ it|visible }}", it=name) == text


def test_progress_says_how_many_of_how_many() -> None:
    text = shown("{% progress 1200 4800 'Deleted keys' %}")
    assert 'max="4800" value="1200"' in text
    assert "1,200 of 4,800 · 25 %" in " ".join(text.split())


def test_progress_without_a_total_has_no_value() -> None:
    text = shown("{% progress 1200 None %}")
    assert "value=" not in text
    assert "1,200 so far" in text


def test_steps_say_in_words_where_we_are() -> None:
    text = shown(
        "{% stepper it %}", it=[UiStep("Freeze", "done"), UiStep("Verify", "failed"), UiStep("Ask", "current")]
    )
    assert [word in text for word in ("(Done)", "(Failed)", "(Now)")] == [True, True, True]
    assert text.count('aria-current="step"') == 1


def test_a_disabled_button_is_described_by_its_reason() -> None:
    text = shown("{% disabled_button 'Delete' 'Clean up QA first.' %}")
    identifier = text.split('aria-describedby="')[1].split('"')[0]
    assert f'id="{identifier}"' in text
    assert " disabled " in text


def test_facts_are_terms_and_descriptions_and_escape_values() -> None:
    text = shown("{% datagrid %}{% fact 'Owner' %}{{ it }}{% endfact %}{% enddatagrid %}", it="<b>")
    assert "<dl" in text
    assert ">Owner</dt>" in text
    assert "&lt;b&gt;</dd>" in text


class Decision(forms.Form):
    title = forms.CharField(help_text="As it is written above.")
    choice = forms.ChoiceField(choices=[("a", "A")], widget=forms.RadioSelect)


def test_a_field_with_a_mistake_points_to_its_help_and_error() -> None:
    text = shown("{% field it %}", it=Decision({})["title"])
    assert 'aria-describedby="id_title_helptext id_title_error"' in text
    assert 'id="id_title_helptext"' in text
    assert 'id="id_title_error"' in text
    assert "form-control is-invalid" in text


def test_a_field_to_be_typed_shows_what_to_type() -> None:
    text = shown("{% field it expected='production-settings' %}", it=Decision()["title"])
    assert 'data-confirm="production-settings"' in text
    assert ">production-settings</code>" in text


def test_choices_are_a_group_with_a_legend() -> None:
    text = shown("{% field it %}", it=Decision()["choice"])
    assert "<legend" in text
    assert 'class="form-check-input"' in text


def test_the_pager_keeps_the_filters_and_moves_on() -> None:
    request = RequestFactory().get("/keys/", {"prefix": "a b", "after": "x"})
    text = Template("{% load ui %}{% pager 'master:é&' %}").render(RequestContext(request))
    assert 'href="?prefix=a+b&amp;after=master%3A%C3%A9%26"' in text
    assert 'href="?prefix=a+b"' in text


def test_an_empty_state_says_what_comes_next() -> None:
    text = shown("{% empty_state 'archive' 'No backup yet' 'Make one.' '/backups/new/' 'Back up' %}")
    assert '<a class="btn btn-primary" href="/backups/new/">Back up</a>' in text


def test_words_follow_the_language_of_the_page() -> None:
    with translation.override("ja"):
        assert shown("{{ it|count }}", it=1_204_567) == "1,204,567"
