"""A definition as text: it is bounded before it is parsed."""

import tomllib
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from kvops.environments.toml import MOST_BYTES, DefinitionRefused, load


@pytest.mark.parametrize(
    "text", ["a." * 20 + "a = 1", "[" + "a." * 20 + "a]", '"a\\"" . \'b\'.' * 20 + "a = 1", "\n" * (MOST_BYTES + 1)]
)
def test_a_text_that_would_take_a_parser_hours_is_refused_before_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tomllib, "loads", lambda _text: pytest.fail("it was parsed"))
    with pytest.raises(DefinitionRefused, match=r"more than 16 parts|more than 1 MiB"):
        load(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000])
def test_a_text_beyond_the_bounds_of_the_parser_is_no_toml(text: str) -> None:
    with pytest.raises(DefinitionRefused, match="This is not TOML"):
        load(text)


@pytest.mark.parametrize("command", ["apply_environments", "apply_policy"])
def test_a_definition_is_not_read_whole_if_it_is_too_large(command: str, tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text("\n" * (MOST_BYTES * 2))
    with pytest.raises(CommandError, match="more than 1 MiB"):
        call_command(command, str(tmp_path / "large.toml"))
