"""Lists that a page declares by their columns."""

import re
from typing import Any

import pytest
from django import forms
from django.template import RequestContext, Template, TemplateSyntaxError
from django.test import RequestFactory

ROWS = [{"name": "<b>", "size": 1}, {"name": "c", "size": None}]
LIST = """{% load ui %}{% listing row in rows label="Keys" after=after order=order %}
  {% column "Name" sort="" %}{{ row.name }}{% endcolumn %}
  {% column "Size" class="num" cell="wide" sort="size" %}{{ row.size|default_if_none:"–" }}{% endcolumn %}
  {% column "Hidden" hidden=True %}<button>{{ row.name }}</button>{% endcolumn %}
  {% column "Asked" when=asked %}yes{% endcolumn %}
  {% empty %}{% empty_state "key" "No key" "Scan." form=form filtered=filtered %}
{% endlisting %}"""


def shown(text: str = LIST, address: str = "/keys/?prefix=a&after=3", **values: Any) -> str:
    request = RequestFactory().get(address)
    return Template(text).render(RequestContext(request, {"rows": ROWS, "after": None, "order": "", **values}))


def test_each_row_has_a_cell_under_each_heading_and_a_value_is_escaped() -> None:
    text = shown()
    assert text.count("<tr>") == 1 + len(ROWS)
    assert "<td>&lt;b&gt;</td>" in text
    assert 'aria-label="Keys"' in text


def test_a_phone_shows_the_heading_of_a_cell_but_not_of_the_first_nor_of_buttons_nor_an_empty_cell() -> None:
    text = shown()
    assert '<td class="num wide" data-label="Size">1</td>' in text
    assert '<td class="num wide" data-none data-label="Size">–</td>' in text
    assert re.findall('data-label="(.*?)"', text) == ["Size", "Size"]
    assert '<span class="visually-hidden">Hidden</span>' in text


def test_a_column_that_is_not_asked_for_is_left_out() -> None:
    assert "Asked" not in shown()
    assert shown(asked=True).count('data-label="Asked">yes') == 2


LINK = '><a class="text-reset" href="?prefix=a'
ORDERS = {
    "": [f'aria-sort="ascending"{LINK}">', f'{LINK}&amp;sort=size">'],
    "size": [f'aria-sort="ascending"{LINK}&amp;sort=-size">', f'{LINK}">'],
    "-size": [f'aria-sort="descending"{LINK}&amp;sort=size">', f'{LINK}">'],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_heading_sorts_from_the_start_and_keeps_the_filters(order: str) -> None:
    text = shown(order=order)
    assert [mark for mark in ORDERS[order] if mark not in text] == []


def test_the_pager_goes_on_after_the_last_row_and_back_to_the_start() -> None:
    assert "after=9" in shown(after=9)
    assert "End of the list" in shown()
    assert "Pages of the list" not in shown(address="/keys/")


class Wrong(forms.Form):
    name = forms.CharField()


@pytest.mark.parametrize(
    ("values", "title"),
    [({}, "No key"), ({"filtered": "a"}, "Nothing matches"), ({"filtered": "a", "form": Wrong({})}, "cannot be read")],
)
def test_without_a_row_the_list_says_why_and_what_comes_next(values: dict[str, Any], title: str) -> None:
    text = shown(rows=iter(()), **values)
    assert title in text
    assert "<table" not in text


def test_a_row_is_unpacked_and_its_names_end_with_it() -> None:
    column = '{% column "A" %}{{ a }}-{{ b }}{% endcolumn %}'
    pairs = f'{{% load ui %}}{{% listing a, b in rows label="L" %}}{column}{{% endlisting %}}{{{{ a }}}}'
    assert "<td>1-2</td>" in shown(pairs, rows=[(1, 2)])
    assert shown(pairs, rows=[(1, 2)], a="outside").endswith("outside")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{% listing rows %}{% endlisting %}", "begins with the name of a row"),
        ("{% listing a in rows %}{% endlisting %}", "has a label"),
        ('{% listing a in rows label="L" %}{% endlisting %}', "a column at least"),
        ('{% listing a in rows label="L" size=1 %}{% endlisting %}', "no option size"),
        ('{% listing a in rows label="L" %}text{% endlisting %}', "nothing else"),
    ],
)
def test_a_list_that_is_written_wrong_is_refused(text: str, why: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=why):
        Template("{% load ui %}" + text)
