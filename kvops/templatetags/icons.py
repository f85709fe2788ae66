"""The tag `{% lucide %}`, which draws each icon once for a process instead of at each place of each page.

A page has about forty icons. To parse and write their XML anew took a tenth of its time.
"""

from functools import cache

from django import template
from django.utils.safestring import SafeString, mark_safe
from lucide.templatetags import lucide as drawing

register = template.Library()


@register.simple_tag
@cache
def lucide(name: str, *, size: int | None = 24, **attributes: str) -> SafeString:
    """The icon as inline SVG, `size` pixels wide and high.

    Raises:
        lucide.IconDoesNotExist: for another name.

    """
    return mark_safe(drawing.lucide(name, size=size, **attributes))  # noqa: S308  (the library wrote it)
