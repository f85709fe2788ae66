"""The editor of a change: what a person types is in the request, in the proposal, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from backups.changes import differences, editor as change_editor, propose
from backups.changes.forms import PARTS, EditorForm, LoadForm
from backups.changes.moves import ChangeRefused
from backups.models import KeyChange
from kvops.cloudflare import CloudflareError, KvEntry
from kvops.inventory import families as key_families
from kvops.inventory.forms import KeyForm
from kvops.inventory.views import named
from kvops.models import Category, Family, Namespace
from kvops.people.signin import insist_fresh, person_of
from kvops.web.acting import On, refusals_shown


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
@never_cache
def new(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """The editor of a change. The typed value is in this request and in the proposal, and nowhere else."""
    namespace = named(environment, binding)
    if request.method != "POST":
        return _editor(request, namespace, EditorForm(initial=_first(request)))
    form = EditorForm(request.POST)
    if not form.is_valid():
        return _editor(request, namespace, form, status=422)
    with _refused(request, namespace, form):
        change = _proposed(request, namespace, form)
        if change is not None:
            messages.success(request, _("The change is proposed. Nothing is written to KV yet."))
            return redirect("backups:change", change.pk)
    return _editor(request, namespace, form, status=422)


def _first(request: HttpRequest) -> dict[str, object]:
    """The first fields of the form: everything is kept, unless the address asks for a new key."""
    form = KeyForm(request.GET)
    name = form.cleaned_data["name"] if form.is_valid() else ""
    kept = not request.GET.get("new")
    return {"name": name, "new": not kept, **{f"keep_{part}": kept for part in PARTS}}


def _proposed(request: HttpRequest, namespace: Namespace, form: EditorForm) -> KeyChange | None:
    """The change that the form proposes; None if it has warnings that are not confirmed."""
    typed = form.cleaned_data
    old = propose.live_entry(namespace, typed["name"])
    if typed["new"] and old is not None:
        raise ChangeRefused(_("This key exists already. Change it instead of creating it."))
    if not typed["new"] and old is None:
        raise ChangeRefused(_("KV has no such key. Say that it is new, if you mean to create it."))
    person = person_of(request)
    propose.insist_possible(namespace, typed["name"], new=old is None, by=person)
    change_editor.insist_loaded(typed["base"], old)
    wish = change_editor.wish_of(typed, old)
    try:
        return propose.propose(namespace, typed["name"], old=old, wish=wish, by=person, confirmed=typed["confirm"])
    except propose.NotConfirmed as asked:
        for sentence in asked.warnings:
            form.add_error("confirm", str(sentence))
        return None


@contextmanager
def _refused(request: HttpRequest, namespace: Namespace, form: forms.Form) -> Iterator[None]:
    """Show refusals and Cloudflare's errors at the form."""
    on = On(namespace.environment, f"namespace:{namespace.pk}", str(namespace))
    with refusals_shown(request, on, form=form, also=(CloudflareError,)):
        yield


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
@never_cache
def load(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """The editor with the current value in it: a reveal, with a reason and the password typed again."""
    namespace = named(environment, binding)
    if request.method != "POST":
        return redirect("backups:change_new", environment, binding)
    insist_fresh(request)
    form = LoadForm(request.POST)
    valid = form.is_valid()
    if "name" not in form.cleaned_data:
        raise Http404
    name: str = form.cleaned_data["name"]
    blank = EditorForm(initial={"name": name, "keep_value": True, "keep_metadata": True, "keep_expiration": True})
    if not valid:
        return _editor(request, namespace, blank, load=form, status=422)
    with _refused(request, namespace, form):
        entry = change_editor.load(namespace, name, reason=form.cleaned_data["reason"], by=person_of(request))
        return _editor(request, namespace, _filled(entry), entry=entry)
    return _editor(request, namespace, blank, load=form, status=409)


def _filled(entry: KvEntry) -> EditorForm:
    kept = {"keep_metadata": entry.metadata is None, "keep_expiration": True}
    values = {"value": change_editor.text_of(entry), "metadata": entry.metadata or ""}
    return EditorForm(initial={"name": entry.name, "base": change_editor.mark(entry), **kept, **values})


def _editor(
    request: HttpRequest,
    namespace: Namespace,
    form: EditorForm,
    *,
    load: LoadForm | None = None,
    entry: KvEntry | None = None,
    status: int = 200,
) -> HttpResponse:
    name = str(form["name"].value() or "")
    context = {
        "namespace": namespace,
        "environment": namespace.environment,
        "form": form,
        "name": name,
        "load": load or LoadForm(initial={"name": name}),
        "loaded": entry is not None,
        "paths": differences.paths(entry.data) if entry else [],
        "confirming": bool(form.errors.get("confirm")),
        "family": key_families.family_of(namespace.binding, name) if name else None,
        "families": _of_settings(namespace) if form.creates else [],
    }
    return render(request, "changes/new.html", context, status=status)


def _of_settings(namespace: Namespace) -> list[Family]:
    """The families that a new key of the namespace can be of."""
    return list(Family.objects.filter(binding=namespace.binding, category=Category.SETTINGS).order_by("pattern"))
