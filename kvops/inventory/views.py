"""The keys of a namespace as a list and as a file; the families of the policy, and the keys that never expire."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.approvals import prepared_changes
from kvops.inventory import browse, expiry as key_expiry, families as key_families, impact, scan as inventory_scan
from kvops.inventory.forms import ExpiryFilter, KeyFilter, PatternForm
from kvops.inventory.key_list import (
    actions as list_actions,
    categories_by_day,
    matching,
    rows as list_rows,
    side_by_side,
)
from kvops.inventory.key_list.matching import Matches
from kvops.models import ApprovalRequest, Category, Namespace, PolicyVersion, Run, Scan, ScanCount
from kvops.models.runs import RunQuerySet
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.files import names_file
from kvops.web.ranges import PeriodForm

PAGE = 50
MOST = 100_000
"""Names. The most in one file; the next file continues after the last of them."""
_STRETCH = 5_000


@dataclass(frozen=True)
class Branch:
    """A group of the prefix tree. If `more`, there are more than `keys`."""

    prefix: str
    label: str
    keys: int
    more: bool
    percent: float


@require_safe
@permission_required("kvops.view", raise_exception=True)
def namespaces(request: HttpRequest) -> HttpResponse:
    """List the namespaces of all environments, each with the keys of its newest scan; as a chart the days before."""
    period = PeriodForm(request.GET).period
    found = Namespace.objects.select_related("environment").order_by("environment__order", "binding")
    newest = Scan.objects.newest_of_each().annotate(counted=Sum("counts__keys", default=0))
    scans = {scan.namespace_id: scan for scan in newest}
    rows = [(one, scans.get(one.pk)) for one in found]
    charts = categories_by_day.by_category(period) if period else []
    return render(request, "keys/namespaces.html", {"rows": rows, "period": period, "charts": charts})


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show the keys of a namespace; filters, order and page come from the address."""
    namespace, others = sides(environment, binding)
    form, now = KeyFilter(namespace, request.GET.dict()), time.time()
    scan, counts = key_families.newest_counts(namespace)
    page, matches = form.page(now=now, limit=PAGE), form.matches(now)
    shared, rows, sized = list_rows.of_page(namespace, page.keys)
    offers = list_actions.for_matches(form) if rows and matches else []
    total = sum(row.keys for row in counts)
    context = {
        "namespace": namespace,
        "environment": namespace.environment,
        "form": form,
        "page": page,
        "rows": rows,
        "shared": shared,
        "sized": sized,
        "matches": matches,
        "filtered": matches is not None or bool(form.errors),
        "scan": scan,
        "run": _to_tell(_newest_run(namespace, scan)),
        "total": total,
        "categories": [(c, sum(row.keys for row in counts if row.category == c)) for c in Category.values],
        "families": [row for row in counts if row.family],
        "path": _path(form.chosen_prefix),
        "tree": _tree(form, now, matches, counts, total),
        "offers": [one for one in offers if one.url],
        "why_not": [one for one in offers if not one.url],
        "clearable": form.is_clearable,
        "others": others,
        "ticked_limits": list_actions.ticked_limits(),
        "query": request.GET.urlencode(),
        "may_operate": request.user.has_perm("kvops.operate"),
        "page_size": PAGE,
        "most": MOST,
    }
    return render(request, "keys/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, environment: str, binding: str) -> StreamingHttpResponse:
    """Stream the names that match the filters as a file."""
    form = KeyFilter(named(environment, binding), request.GET.dict())
    return names_file(request, f"{environment}-{binding}-keys", _names(form))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def scan(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """List the namespace again."""
    namespace = named(environment, binding)
    person = person_of(request)
    try:
        inventory_scan.start_scan(namespace, actor=person.actor, person=person)
    except run_driver.AlreadyOpen:
        run = _scans(namespace).open().first()
        url = reverse("run", args=[run.pk]) if run else reverse("runs")
        text = _("A scan of this namespace is under way already.")
        messages.warning(request, format_html('{} <a href="{}">{}</a>', text, url, _("See details")))
    else:
        messages.success(request, _("The scan has started. This page shows the result when it is complete."))
    return redirect("keys", environment, binding)


def named(environment: str, binding: str) -> Namespace:
    """The namespace of an address, with its environment; 404 if there is none."""
    namespaces = Namespace.objects.select_related("environment")
    return get_object_or_404(namespaces, environment__slug=environment, binding=binding)


def sides(environment: str, binding: str) -> tuple[Namespace, list[Namespace]]:
    """The namespace of an address, and those of its binding in the other environments; 404 if there is none."""
    found = side_by_side.of_binding(binding)
    namespace = next((one for one in found if one.environment.slug == environment), None)
    if namespace is None:
        raise Http404
    return namespace, [one for one in found if one != namespace]


def _scans(namespace: Namespace) -> RunQuerySet:
    return Run.objects.filter(kind=Run.Kind.SCAN, subject=f"namespace:{namespace.pk}")


def _newest_run(namespace: Namespace, scan: Scan | None) -> RunQuerySet:
    """The newest run of a scan; none if it is the one that the page shows anyway."""
    found = _scans(namespace).order_by("-pk")
    return (found.filter(pk__gt=scan.run_id) if scan else found)[:1]


def _to_tell(found: RunQuerySet) -> Run | None:
    """The newest run of a scan, unless it succeeded."""
    return next((run for run in found if run.state != Run.State.SUCCEEDED), None)


def _names(form: KeyFilter) -> Iterator[str]:
    now, after, left = time.time(), None, MOST
    while left:
        keys, after = form.page(now=now, limit=min(left, _STRETCH), after=after)
        yield from (key.name for key in keys)
        left -= len(keys)
        if after is None:
            return


def _path(prefix: str) -> list[tuple[str, str]]:
    """The levels of a prefix, each with the prefix up to it."""
    steps = [step for step in prefix.replace(":", ":\0").split("\0") if step]
    return [("".join(steps[: number + 1]), step) for number, step in enumerate(steps)]


def _tree(
    form: KeyFilter, now: float, matches: Matches | None, counts: Sequence[ScanCount], total: int
) -> list[Branch]:
    """The next level of the names that match, each group's share of them, and the exact count for a whole family."""
    query, branches = form.query(now), []
    if query is None:
        return []
    found = browse.groups(query.namespace) if matches is None else matching.tree(query, matches)
    whole = total if matches is None or matches.more else matches.keys
    for group in found:
        keys, more = group.keys, group.more
        if more and (matches is None or query.is_prefix_only) and _is_family(counts, group.prefix):
            keys, more = sum(row.keys for row in counts if row.pattern.startswith(group.prefix)), False
        percent = min(100.0, keys * 100 / whole) if whole else 0.0
        branches.append(Branch(group.prefix, group.prefix.removeprefix(query.prefix), keys, more, percent))
    return branches


def _is_family(counts: Sequence[ScanCount], prefix: str) -> bool:
    return any(row.family and not row.family.exact and row.family.pattern == prefix for row in counts)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def categories(request: HttpRequest) -> HttpResponse:
    """Show the families in force, their keys, and the prepared change; try a pattern, or the name of a key."""
    form = PatternForm(request.GET.dict())
    context = {
        "form": form,
        **(_tried(**form.cleaned_data) if form.is_valid() else {}),
        "rows": key_families.in_environments(),
        "policy": PolicyVersion.objects.order_by("-number").first(),
        "change": prepared_changes.waiting_change(ApprovalRequest.Kind.POLICY),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "categories/index.html", context, status=422 if form.errors else 200)


def _tried(binding: str, name: str, pattern: str, category: str, *, exact: bool) -> dict[str, object]:
    return {
        "chosen": {"binding": binding, "name": name, "pattern": pattern, "category": category, "exact": exact},
        "looked_up": impact.look_up(binding, name) if name else None,
        "trial": impact.try_pattern(binding, pattern, category, exact=exact) if pattern else None,
        "most": impact.TRIED,
    }


@require_safe
@permission_required("kvops.view", raise_exception=True)
def expiry(request: HttpRequest) -> HttpResponse:
    """Show the keys without an expiration by family, and the trend of the caches or of one family."""
    form = ExpiryFilter(request.GET)
    context = {
        "form": form,
        "family": form.chosen_family,
        "namespaces": key_expiry.by_namespace(),
        "trend": key_expiry.trend(form.chosen_family, form.shown_period),
        "period": form.shown_period,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "expiry/index.html", context)
