"""A person's step on a page: done and confirmed, or refused, shown and recorded."""

from collections.abc import Callable

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit import log
from audit.actions import Action
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.wording import english

type Show = Callable[[forms.Form | None, int], HttpResponse]
"""A function that shows the page in its present state, with a form as the person left it, and a status."""


def act(
    request: HttpRequest,
    do: Callable[[], object],
    *,
    on: tuple[Environment, str],
    done: str,
    to: str,
    show: Show,
    form: forms.Form | None = None,
) -> HttpResponse:
    """Call `do` if the form is valid, and redirect to the page `to`. A refusal is recorded `on` a subject."""
    if form is not None and not form.is_valid():
        return show(form, 422)
    try:
        do()
    except Refused as refused:
        messages.error(request, str(refused))
        refuse(request, refused, *on)
        return show(form, 409)
    messages.success(request, done)
    return redirect(to)


def refuse(request: HttpRequest, refused: Exception, environment: Environment, subject: str) -> None:
    """Record a refusal."""
    log.refusal(
        Action.REFUSED,
        actor=person_of(request).actor,
        environment=environment.slug,
        subject=subject,
        details={"reason": english(refused)[:500]},
    )
