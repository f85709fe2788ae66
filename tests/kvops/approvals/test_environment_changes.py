"""The stored lines of a change of environments, read in another language."""

import dataclasses

import pytest
from django.utils import translation

from kvops.approvals.environment_changes import change_in_words
from kvops.environments.definition import EnvironmentDefinition
from kvops.environments.toml import differences

TOKEN = "read_token"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"qa": {TOKEN: "env:A"}}, {"qa": {TOKEN: "env:B"}}, "qa: 読み取り用トークン env:A → env:B"),
        ({"qa": {"production": False}}, {"qa": {"production": True}}, "qa: 本番 いいえ → はい"),
        ({"qa": {"slack": ""}}, {"qa": {"slack": "#kv"}}, "qa: Slack チャンネル なし → #kv"),
        ({"qa": {"hours": ""}}, {"qa": {"hours": "09:00-18:00"}}, "qa: 実施できる時間帯 なし → 09:00-18:00"),
        ({"qa": {"days": ""}}, {"qa": {"days": "mon,tue"}}, "qa: 実施できる曜日 なし → mon,tue"),
        ({}, {"qa/M (D1)": {"database": "7", TOKEN: ""}}, "qa/M (D1)：追加（データベース 7）"),
        ({"qa/S": {"namespace": "1, 2"}}, {}, "qa/S：削除（ネームスペース 1, 2）"),
    ],
)
def test_each_line_is_in_the_readers_language(before: dict[str, object], after: dict[str, object], shown: str) -> None:
    (line,) = differences(before, after)  # type: ignore[arg-type]
    with translation.override("ja"):
        assert change_in_words(line) == shown


def test_each_field_of_an_environment_has_a_label() -> None:
    fields = {field.name for field in dataclasses.fields(EnvironmentDefinition)} - {"slug", "kv", "d1"}
    with translation.override("ja"):
        assert [field for field in fields if f"qa: {field} " in change_in_words(f"qa: {field} 1 → 2")] == []


def test_a_namespace_is_named_and_another_form_stays_as_it_is() -> None:
    with translation.override("ja"):
        assert change_in_words("qa/S is the namespace “kv” (0a1b)") == "qa/S はネームスペース「kv」（0a1b）です"
        assert change_in_words("something else") == "something else"
