"""A person's step on a page: done and confirmed, or refused, shown and recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.functional import Promise

from audit import log
from audit.actions import Action
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.wording import english, reason_of

type Show = Callable[[forms.Form | None, int], HttpResponse]
"""A function that shows the page in its present state, with a form as the person left it, and a status."""


class On(NamedTuple):
    """The subject that a refusal is recorded on, as the audit log names it."""

    environment: Environment | None
    subject: str
    label: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Step[Subject]:
    """One step that a person takes on the page of a subject."""

    do: Callable[..., object]
    """Called with the subject, the person as `by`, and the `fields` of the form."""
    done: str | Promise
    form: Callable[[QueryDict], forms.Form] | None = None
    fields: tuple[str, ...] = ()
    form_of: Callable[[QueryDict, Subject], forms.Form] | None = None
    """In place of `form`: one that depends on the subject."""


def act[Subject](
    request: HttpRequest, step: Step[Subject], subject: Subject, *, on: On, to: str, show: Show
) -> HttpResponse:
    """Take a step if its form is valid, and redirect to the page `to`. A refusal shows the page again."""
    form = step.form(request.POST) if step.form else None
    if step.form_of:
        form = step.form_of(request.POST, subject)
    if form is not None and not form.is_valid():
        return show(form, 422)
    with refusals_shown(request, on):
        typed = {name: form.cleaned_data[name] for name in step.fields} if form else {}
        step.do(subject, by=person_of(request), **typed)
        messages.success(request, str(step.done))
        return redirect(to)
    return show(form, 409)


@contextmanager
def refusals_shown(
    request: HttpRequest,
    on: On,
    *,
    form: forms.Form | None = None,
    action: Action = Action.REFUSED,
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Leave the block at a refusal, or at an error of the types `also`: show it and record it.

    The sentence stands above the page, or at the form if one is given.
    """
    caught: tuple[type[Exception], ...] = (Refused, *also)
    try:
        yield
    except caught as refused:
        if form is None:
            messages.error(request, reason_of(refused))
        else:
            form.add_error(None, reason_of(refused))
        log.refusal(
            action,
            actor=person_of(request).actor,
            environment=on.environment.slug if on.environment else "",
            subject=on.subject,
            subject_label=on.label,
            digest=on.digest,
            details={"reason": english(refused)[:500]},
        )
