"""Clean-ups: the list, the request, and one page with every step of one clean-up."""

from collections.abc import Mapping
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Prefetch
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.cleanup import (
    cards,
    certificate as cleanup_certificate,
    certificate_files,
    completion,
    requests as cleanup_requests,
)
from backups.cleanup.forms import ArrangeForm, AskForm, CleanupFilter, EndForm
from backups.cleanup.next_action import ENDING
from backups.cleanup.pages import presses, result as cleanup_result
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.pages.summary import summary_of
from backups.cleanup.qa import InForce
from backups.models import CleanupRequest, CleanupStage
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.files import streamed
from kvops.web.pages import page_of
from kvops.wording import storable

PAGE = 25
STEPS: dict[str, Step[CleanupRequest]] = {
    "arrange": Step(
        cleanup_requests.arrange,
        _("The ticket and the frozen writers are recorded."),
        ArrangeForm,
        ("ticket", "frozen_until", "frozen_by"),
    ),
    "end": Step(completion.end, _("The clean-up is ended."), EndForm, ("reason",)),
}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List clean-ups, newest first, filtered and paged by the address."""
    form = CleanupFilter(request.GET)
    found = (
        form.requests()
        .select_related("family", "requested_by")
        .prefetch_related(
            Prefetch("stages", cleanup_result.counted(CleanupStage.objects.all())),
            "stages__environment",
            "stages__undos",
            "stages__restores",
        )
    )
    requests, after = page_of(found, PAGE)
    context = {
        "form": form,
        "rows": [cards.row(one) for one in requests],
        "after": after,
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
        return _new_page(request, form)
    if form.is_valid():
        chosen = {name: form.cleaned_data[name] for name in ("binding", "prefix", "exact", "only", "reason")}
        with refusals_shown(request, On(None, f"cleanup:{chosen['binding']} {chosen['prefix'][:400]}"), form=form):
            made = cleanup_requests.request(**chosen, by=person_of(request))
            messages.success(request, _("The clean-up is requested."))
            return _begun(request, made) if "begin" in request.POST else redirect("backups:cleanup", made.pk)
    return _new_page(request, form, status=422)


def _new_page(request: HttpRequest, form: AskForm, status: int = 200) -> HttpResponse:
    """The page that asks for a clean-up, with the environments that have the binding, if one is chosen."""
    binding = storable(form["binding"].value() or "")
    places = Environment.objects.filter(namespaces__binding=binding).order_by("order")
    return render(request, "cleanup/new.html", {"form": form, "places": places}, status=status)


def _begun(request: HttpRequest, made: CleanupRequest) -> HttpResponse:
    """Prepare the first environment. Meanwhile the person answers the code references, if there are any."""
    with refusals_shown(request, On(None, f"cleanup:{made.pk}")):
        stage = presses.begin_first(made, by=person_of(request))
        messages.success(request, _("The list of keys is fixed, and the next step is under way."))
        if presses.waits_for_answers(stage):
            return redirect("backups:stage_references", stage.pk)
    return redirect("backups:cleanup", made.pk)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one clean-up."""
    return page(request, pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the request: end it before a deletion began."""
    mine = _cleanup(pk)
    return take_on_page(request, STEPS[step], mine, pk, on=On(None, f"cleanup:{pk}"), form_name=step)


def take_on_page[Subject](
    request: HttpRequest, step: Step[Subject], subject: Subject, cleanup: int, *, on: On, form_name: str
) -> HttpResponse:
    """Take a step of the page of a clean-up. After a refusal the form `form_name` keeps the input."""
    return act(
        request,
        step,
        subject,
        on=on,
        to=reverse("backups:cleanup", args=[cleanup]),
        show=lambda form, status: page(request, cleanup, typed={form_name: form} if form else None, status=status),
    )


def page(
    request: HttpRequest, pk: int, *, typed: Mapping[str, forms.Form] | None = None, status: int = 200
) -> HttpResponse:
    """The page of a clean-up; `typed` are submitted forms by name, with the person's input."""
    typed, person = typed or {}, person_of(request)
    stages = cards.of_cleanup_or_404(pk)
    mine = stages[0].request
    by_hand = mine.is_open and mine.clearing_id is None
    policy, operates = InForce(), request.user.has_perm("kvops.operate")
    facts = {stage.pk: StageFacts(stage, may_operate=operates, policy=policy, stages=stages) for stage in stages}
    shown = [cards.card(one, person, typed) for one in facts.values()]
    at_hand = cards.at_hand(stages)
    context = {
        "cleanup": mine,
        "band": cards.band(stages),
        "result": cleanup_result.Result(mine, stages),
        "remaining": cards.remaining(stages),
        "cards": shown,
        "at_hand": at_hand,
        "summary": summary_of(facts[at_hand.pk]) if at_hand else None,
        "must_end": any(card.action and card.action.fragment == ENDING for card in shown),
        "arrange_form": typed.get("arrange") or ArrangeForm(initial=model_to_dict(mine, ArrangeForm.base_fields)),
        "arrange_typed": "arrange" in typed,
        "may_arrange": by_hand and all(stage.state in cleanup_requests.UNSUBMITTED for stage in stages),
        "end_form": typed.get("end") or EndForm(),
        "end_typed": "end" in typed,
        "may_end": mine.clearing_id is None and cards.may_end(mine, stages),
        "may_operate": operates,
        "again": f"{reverse('backups:cleanup_new')}?{_asking(mine)}",
    }
    return render(request, "cleanup/detail.html", context, status=status)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def certificate(request: HttpRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
    """Show the certificate of a clean-up, to print; or as Markdown or JSON, if the address asks for it."""
    facts, kind = certificate_files.CertificateFacts(pk), request.GET.get("format", "")
    cleanup = facts.cleanup
    english = cleanup_certificate.in_english(cleanup, facts)
    if kind == "json":
        return streamed([certificate_files.as_json(english)], f"clean-up-{pk}.json", "application/json")
    mine = cleanup_certificate.build(cleanup, facts)
    if kind == "md":
        return streamed([certificate_files.as_markdown(mine, english)], f"clean-up-{pk}.md", "text/markdown")
    data, digest = certificate_files.document(english)
    context = {
        "cleanup": cleanup,
        "certificate": mine,
        "digest": digest,
        "address": data["page"],
        "now": facts.read_at,
    }
    return render(request, "cleanup/certificate.html", context)


def _asking(mine: CleanupRequest) -> str:
    """The fields of the form that asks for the same clean-up."""
    asked = {"binding": mine.binding, "prefix": mine.prefix, **({"exact": "1"} if mine.exact else {})}
    asked |= {"without_expiration": "1"} if mine.selection.without_expiration else {}
    return urlencode(asked)


def _cleanup(pk: int) -> CleanupRequest:
    related = ("family", "requested_by")
    return get_object_or_404(CleanupRequest.objects.select_related(*related), pk=pk)
