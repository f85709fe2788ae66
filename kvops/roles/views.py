"""The people pages: everybody with roles, one person with their history, and the forms that ask for a change."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.models import Entry
from kvops.models import Person
from kvops.people.signin import person_of
from kvops.roles import invitations, listing, recovery, requests
from kvops.roles.forms import InviteForm, RolesForm
from kvops.roles.requests import RoleChange
from kvops.web.acting import On, refusals_shown

SHOWN = 100
"""Entries. The newest ones of a person's history; the audit log has all."""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List everybody with their roles, and the requests that wait."""
    context = {
        "people": listing.everybody(),
        "open_requests": listing.open_requests(),
        "recovery": recovery.open_recovery(),
        "rights": [(role.label, text) for role, text in listing.RIGHTS.items()],
        "may_ask": request.user.has_perm("kvops.ask_for_roles"),
        "alone": Person.objects.active_reviewers().count() == 1,
    }
    return render(request, "people/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.ask_for_roles", raise_exception=True)
def invite(request: HttpRequest) -> HttpResponse:
    """Ask for a person to be invited with roles."""
    form = InviteForm(request.POST if request.method == "POST" else None)
    person, status = person_of(request), 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            chosen, status = form.cleaned_data, 409
            with refusals_shown(request, On(None, "", chosen["email"]), form=form):
                change = RoleChange.invitation(chosen["email"], chosen["name"], *form.chosen())
                approval = requests.ask(change, by=person, reason=chosen["reason"])
                return redirect("approval", approval.pk)
    nobody = RoleChange(requests.INVITE, None, "", "")
    context = {"form": form, "why_not": requests.why_not_ask(nobody, by=person)}
    return render(request, "people/invite.html", context, status=status)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one person with roles, requests and history."""
    return _page(request, _person(pk))


@require_POST
@permission_required("kvops.ask_for_roles", raise_exception=True)
def ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for a change of the person's roles."""
    person, by = _person(pk), person_of(request)
    changes = listing.changes(listing.shown(person), requests.about(person), by=by, may_ask=True)
    form = RolesForm(changes, request.POST)
    if not form.is_valid():
        return _page(request, person, form, status=422)
    with refusals_shown(request, _on(person)):
        approval = requests.ask(form.chosen(), by=by, reason=form.cleaned_data["reason"])
        return redirect("approval", approval.pk)
    return redirect("person", pk)


@require_POST
@permission_required("kvops.ask_for_roles", raise_exception=True)
def invite_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the invitation sent again."""
    person = _person(pk)
    with refusals_shown(request, _on(person)):
        invitations.again(person, by=person_of(request))
        messages.success(request, _("The invitation is sent again. Earlier links end when a password is chosen."))
    return redirect("person", pk)


def _person(pk: int) -> Person:
    return get_object_or_404(Person.objects.known(), pk=pk)


def _on(person: Person) -> On:
    return On(None, f"person:{person.pk}", str(person))


def _page(request: HttpRequest, person: Person, form: RolesForm | None = None, status: int = 200) -> HttpResponse:
    runs, approvals = listing.depends_on(person)
    may_ask = request.user.has_perm("kvops.ask_for_roles")
    one, asked = listing.shown(person), list(requests.about(person)[:SHOWN])
    changes = listing.changes(one, asked, by=person_of(request), may_ask=may_ask)
    context = {
        "one": one,
        "refused": [each for each in changes if each.why_not],
        "possible": any(not each.why_not for each in changes),
        "form": form or RolesForm(changes),
        "asked": asked,
        "runs": runs,
        "approvals": approvals,
        "entries": Entry.objects.filter(subject=f"person:{person.pk}").order_by("-seq")[:SHOWN],
        "may_ask": may_ask,
    }
    return render(request, "people/detail.html", context, status=status)
