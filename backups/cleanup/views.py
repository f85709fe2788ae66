"""Clean-ups: the list, the request, and one page with every step of one clean-up."""

from collections.abc import Callable, Mapping

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit import log
from audit.actions import Action
from backups.cleanup import cards, requests as cleanup_requests
from backups.cleanup.forms import AskForm, CleanupFilter, EndForm, ReferencesForm
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest, CleanupStage
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.wording import english

PAGE = 25


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List clean-ups, newest first, filtered and paged by the address."""
    form = CleanupFilter(request.GET)
    found = form.requests().select_related("family", "requested_by").prefetch_related("stages__environment")
    requests = list(found[: PAGE + 1])
    context = {
        "form": form,
        "rows": [cards.row(one) for one in requests[:PAGE]],
        "after": requests[PAGE - 1].pk if len(requests) > PAGE else None,
        "filtered": any(request.GET.values()),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "cleanup/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Ask for a clean-up."""
    form = AskForm(request.POST) if request.method == "POST" else AskForm(asked=request.GET)
    if request.method != "POST":
        return render(request, "cleanup/new.html", {"form": form})
    if form.is_valid():
        chosen, person = form.cleaned_data, person_of(request)
        try:
            made = cleanup_requests.request(
                binding=chosen["binding"],
                prefix=chosen["prefix"],
                exact=chosen["exact"],
                reason=chosen["reason"],
                by=person,
            )
        except CleanupRefused as refused:
            form.add_error(None, str(refused))
            refuse(request, refused, subject=f"cleanup:{chosen['binding']} {chosen['prefix'][:400]}")
        else:
            messages.success(request, _("The clean-up is requested. Its first step is to fix the list of keys."))
            return redirect("backups:cleanup", made.pk)
    return render(request, "cleanup/new.html", {"form": form}, status=422)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one clean-up."""
    return page(request, _cleanup(pk))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def references(request: HttpRequest, pk: int) -> HttpResponse:
    """State where Worker code mentions the keys."""
    mine, form, person = _cleanup(pk), ReferencesForm(request.POST), person_of(request)
    return act_on_cleanup(
        request,
        mine,
        form,
        lambda: cleanup_requests.state_references(mine, **form.cleaned_data, by=person),
        done=_("Your statement is recorded."),
        typed={"references": form},
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """End the clean-up before a deletion began."""
    mine, form, person = _cleanup(pk), EndForm(request.POST), person_of(request)
    return act_on_cleanup(
        request,
        mine,
        form,
        lambda: cleanup_requests.end(mine, reason=form.cleaned_data["reason"], by=person),
        done=_("The clean-up is ended."),
        typed={"end": form},
    )


def act_on_cleanup(
    request: HttpRequest,
    mine: CleanupRequest,
    form: forms.Form | None,
    do: Callable[[], object],
    *,
    done: str,
    stage: CleanupStage | None = None,
    typed: Mapping[str, forms.Form] | None = None,
) -> HttpResponse:
    """Do it once the form is complete. What is refused is said and recorded, and what was typed is kept."""
    if form is not None and not form.is_valid():
        return page(request, mine, typed=typed, status=422)
    try:
        do()
    except Refused as refused:
        messages.error(request, str(refused))
        refuse(request, refused, subject=f"cleanup:{mine.pk}", stage=stage)
        return page(request, _cleanup(mine.pk), typed=typed, status=409)
    messages.success(request, done)
    return redirect("backups:cleanup", mine.pk)


def page(
    request: HttpRequest, mine: CleanupRequest, *, typed: Mapping[str, forms.Form] | None = None, status: int = 200
) -> HttpResponse:
    """The one page; `typed` are forms as a person left them, by name."""
    typed, person = typed or {}, person_of(request)
    stages = cards.stages().filter(request=mine).order_by("order")
    context = {
        "cleanup": mine,
        "cards": [cards.card(stage, person, typed) for stage in stages],
        "references_form": typed.get("references") or ReferencesForm(),
        "references_typed": "references" in typed,
        "may_state": cards.may_state_references(mine),
        "end_form": typed.get("end") or EndForm(),
        "end_typed": "end" in typed,
        "may_end": cards.may_end(mine),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "cleanup/detail.html", context, status=status)


def refuse(request: HttpRequest, refused: Exception, *, subject: str, stage: CleanupStage | None = None) -> None:
    """Record that a person was refused."""
    log.refusal(
        Action.REFUSED,
        actor=person_of(request).actor,
        environment=stage.environment.slug if stage else "",
        subject=f"stage:{stage.pk}" if stage else subject,
        subject_label=str(stage)[:600] if stage else "",
        details={"reason": english(refused)[:500]},
    )


def _cleanup(pk: int) -> CleanupRequest:
    related = ("family", "requested_by", "references__by")
    return get_object_or_404(CleanupRequest.objects.select_related(*related), pk=pk)
