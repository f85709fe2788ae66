"""The subject of a request on the page of its approval: `{% load requested %}`."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template import Context
from django.urls import reverse

from backups.execution.subprefixes import by_subprefix
from backups.generations.values import AT_ONCE
from backups.models import CleanupStage, Restore
from kvops.models import ApprovalRequest, Category
from kvops.operations.registry import REQUESTS

register = template.Library()

Kind = ApprovalRequest.Kind


@register.simple_tag
def subject_page(asked: ApprovalRequest) -> dict[str, object] | None:
    """The page a request belongs to: its address, the text of the link, and the next step once it is approved."""
    page = REQUESTS[asked.kind].page
    if page is None:
        return None
    url = reverse(page.name, args=[] if page.for_all else [asked.subject.partition(":")[2]])
    found: dict[str, object] = {"url": url, "link": page.link, "page": page}
    if asked.kind == Kind.DELETE_KEYS:
        found["cleanup"] = CleanupStage.objects.filter(approval=asked).values_list("request_id", flat=True).first()
    return found


@register.inclusion_tag("approvals/_names.html", takes_context=True)
def requested_names(context: Context, asked: ApprovalRequest, shown: Mapping[str, Any]) -> dict[str, object]:
    """The names of a request by sub-prefix, the way to all of them, and to the values of three."""
    work = _work_of(asked)
    prefix = str(shown.get("prefix") or "")
    groups, rest = by_subprefix(work, prefix) if work and not shown.get("exact") else ([], 0)
    names = shown.get("names") or {}
    return {
        "asked": asked,
        "names": names,
        "groups": groups if len(groups) > 1 or any(group.is_prefix for group in groups) else [],
        "rest": rest,
        "work": work,
        "shows_values": not Category(shown.get("category") or Category.UNCLASSIFIED).sensitive,
        "sample": (names.get("sample") or [])[:AT_ONCE],
        "may_view_values": context["request"].user.has_perm("kvops.view_values"),
        "csrf_token": context.get("csrf_token"),
        "backup": (shown.get("generation") or {}).get("id"),
        "binding": shown.get("binding"),
        "all_names": _all_names(asked),
    }


def _all_names(asked: ApprovalRequest) -> str:
    """The address of all requested names."""
    key, page = asked.subject.partition(":")[2], REQUESTS[asked.kind].page
    if asked.kind == Kind.DELETE_KEYS:
        return reverse("backups:stage_names", args=[key])
    return f"{reverse(page.name, args=[key])}#names" if page else ""


def _work_of(asked: ApprovalRequest) -> CleanupStage | Restore | None:
    """The stage or the restore with exactly the requested names: they cannot change while the request is open."""
    if asked.kind == Kind.DELETE_KEYS:
        return CleanupStage.objects.filter(approval=asked).first()
    return Restore.objects.filter(approval=asked).first()
