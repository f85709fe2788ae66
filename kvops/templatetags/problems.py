"""The mistakes in the forms of a page, for its title and its top: `{% load problems %}`."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import NamedTuple, cast

from django import template
from django.forms import BaseForm
from django.template import Context

register = template.Library()
_DEEP = 2
"""Levels of lists, mappings and dataclasses within a context that hold forms."""


class Problem(NamedTuple):
    """One mistake; `field_id` is empty if it belongs to the whole form, or to a field that is not shown."""

    sentence: str
    label: str = ""
    field_id: str = ""


@register.simple_tag(takes_context=True)
def problems_of_page(context: Context) -> list[Problem]:
    """The mistakes in every form of the context, in the order of the fields."""
    forms = {id(form): form for form in _forms(context.flatten(), _DEEP) if form.is_bound}
    return [problem for form in forms.values() for problem in _problems(form)]


def first_wrong(form: BaseForm) -> str:
    """The name of the first visible field with a mistake; empty if there is none."""
    return next((bound.name for bound in form.visible_fields() if bound.errors), "")


def _forms(value: object, deep: int) -> Iterator[BaseForm]:
    for part in _parts(value):
        # By type: isinstance() would evaluate what is lazy.
        if issubclass(type(part), BaseForm):
            yield cast("BaseForm", part)
        elif deep:
            yield from _forms(part, deep - 1)


def _parts(value: object) -> list[object]:
    kind = type(value)
    if issubclass(kind, dict):
        return list(cast("dict[object, object]", value).values())
    if issubclass(kind, (list, tuple)):
        return list(cast("list[object]", value))
    return [getattr(value, field.name) for field in fields(kind)] if is_dataclass(kind) else []


def _problems(form: BaseForm) -> Iterator[Problem]:
    for name, sentences in form.errors.items():
        bound = form[name] if name in form.fields and not form[name].is_hidden else None
        label, field_id = (str(bound.label), bound.id_for_label or "") if bound else ("", "")
        yield from (Problem(str(sentence), label, field_id) for sentence in sentences)
