"""The page of components, in the sandbox only."""

import re
from pathlib import Path

import pytest
from django.test import Client, override_settings

from kvops.site import style
from tests import make
from tests.signing import signed_in

UI = Path(__file__).resolve().parents[3] / "kvops/templatetags/ui.py"
ELSEWHERE = {"place_badge", "field", "pager"}
"""Tags that need a row of evidence, a form or a request."""


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


@override_settings(SANDBOX=True)
def test_each_component_is_there_in_both_themes(operator: Client) -> None:
    page = operator.get("/style/").content.decode()
    assert page.count('data-bs-theme="dark"') == page.count('data-bs-theme="light"') == len(style.COMPONENTS)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_each_tag_of_the_building_blocks_is_shown() -> None:
    tags = set(re.findall(r"@register\.\w*tag[^\n]*\ndef (\w+)", UI.read_text("utf-8"))) - ELSEWHERE
    shown = " ".join(one.source for one in style.COMPONENTS)
    assert len(tags) > 12
    assert {tag for tag in tags if f"{{% {tag} " not in shown and f"{{% {tag} %" not in shown} == set()
