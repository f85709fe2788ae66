"""The texts of the help as HTML, and the addresses of its anchors."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext as _
from django.views.decorators.http import require_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

_ANCHOR = re.compile(r" \{#([\w.-]+)\}$")
_OTHER = {"en": "ja", "ja": "en"}
"""Emphasized text is a word in the other language of the two."""


@dataclass(frozen=True)
class HelpText:
    """A text in one language: its HTML, with links from the root of the site, and its anchors in their order."""

    html: str
    anchors: Sequence[str]


@cache
def text(language: str) -> HelpText:
    """The text in a language. Raises KeyError for one that there is none in."""
    markdown, other = MarkdownIt("commonmark"), _OTHER[language]
    tokens = markdown.parse(Path(__file__).with_name(f"{language}.md").read_text("utf-8"))
    anchors: list[str] = []
    block = tokens[0]
    for token in tokens:
        if token.children is None:
            # The paragraph of an item in a list is hidden, so the item has the anchor.
            block = block if token.hidden else token
            continue
        if found := _ANCHOR.search(token.content):
            anchors.append(found[1])
            block.attrSet("id", found[1])
            token.children[-1].content = _ANCHOR.sub("", token.children[-1].content)
        _emphasized(token.children, other)
    return HelpText(markdown.renderer.render(tokens, markdown.options, {}), anchors)


def _emphasized(tokens: Iterable[Token], language: str) -> None:
    for token in tokens:
        if token.type == "em_open":
            token.attrSet("lang", language)


def address(code: str) -> str:
    """The address of an alarm's help; empty if the code is that of mere news."""
    return f"{reverse('help')}#{code}" if code in text("en").anchors else ""


def in_message(codes: Iterable[str]) -> str:
    """The lines of a message that lead to the help for its alarms; empty for mere news."""
    links = [f"{settings.BASE_URL}{path}" for code in dict.fromkeys(codes) if (path := address(code))]
    return "\n".join([_("Meaning and next step:"), *links]) if links else ""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show each alarm with its meaning and the next step, and each word with its meaning."""
    html = text((get_language() or "en")[:2]).html.replace('href="/', f'href="{get_script_prefix()}')
    return render(request, "help/index.html", {"text": mark_safe(html)})  # noqa: S308  (from a file of the product)
