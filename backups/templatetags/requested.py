"""The subject of a request on the page of its approval: `{% load requested %}`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.execution.subprefixes import by_subprefix
from backups.generations.values import AT_ONCE
from backups.models import CleanupStage, Restore
from kvops.models import ApprovalRequest, Category

register = template.Library()

Kind = ApprovalRequest.Kind


@dataclass(frozen=True)
class SubjectPage:
    """The page of a request's subject, and its next step after the approval. With `for_all` there is one for all."""

    name: str
    link: str | Promise
    in_time: str | Promise
    late: str | Promise
    for_all: bool = False

    def url(self, asked: ApprovalRequest) -> str:
        """Its address."""
        return reverse(self.name, args=[] if self.for_all else [asked.subject.partition(":")[2]])


_EXPIRED = _("The approval has expired. Ask again.")
PAGES: dict[str, SubjectPage] = {
    Kind.DELETE_KEYS: SubjectPage(
        "backups:stage",
        _("Go to the stage"),
        _("An operator starts the deletion on the page of the stage."),
        _("The deadline for using the approval has passed. Prepare and submit the stage again."),
    ),
    Kind.RESTORE: SubjectPage(
        "backups:restore",
        _("Go to the restore"),
        _("An operator starts it on the page of the restore."),
        _("The deadline for using the approval has passed. Withdraw it and submit the restore again."),
    ),
    Kind.PUT_KEY: SubjectPage(
        "backups:change",
        _("Go to the change"),
        _("An operator starts it on the page of the change."),
        _("The deadline for using the approval has passed. Withdraw it and prepare the change again."),
    ),
    Kind.BULK_CHANGE: SubjectPage(
        "backups:bulk_change",
        _("Go to the bulk change"),
        _("An operator starts it on the page of the bulk change."),
        _("The deadline for using the approval has passed. Withdraw it and submit the bulk change again."),
    ),
    Kind.DELETE_GENERATIONS: SubjectPage(
        "backups:prune",
        _("Go to the prune request"),
        _("An operator starts the prune run on the page of the prune request."),
        _("The deadline for using the approval has passed. Withdraw it and collect the backups again."),
    ),
    Kind.CLEARING: SubjectPage(
        "backups:clearing",
        _("Go to the rule"),
        _("The approval is in force: each round until then uses it."),
        _EXPIRED,
    ),
    Kind.DRILL: SubjectPage(
        "backups:drills",
        _("Go to the drills"),
        _("The approval is in force: each drill until then uses it."),
        _EXPIRED,
        for_all=True,
    ),
    Kind.INVESTIGATION: SubjectPage(
        "backups:investigation",
        _("Go to the investigation"),
        _(
            "The approval is in force: the backup is deleted when the investigation is closed, at its end at the "
            "latest."
        ),
        _EXPIRED,
    ),
}
"""Kind -> the page where its request comes from and its approval is used. Other kinds are used on their own page."""


@register.simple_tag
def subject_page(asked: ApprovalRequest) -> dict[str, object] | None:
    """The page a request belongs to: its address, the text of the link, and the next step once it is approved."""
    page = PAGES.get(asked.kind)
    if page is None:
        return None
    found: dict[str, object] = {"url": page.url(asked), "link": page.link, "page": page}
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
    key = asked.subject.partition(":")[2]
    if asked.kind == Kind.DELETE_KEYS:
        return reverse("backups:stage_names", args=[key])
    return f"{reverse(PAGES[asked.kind].name, args=[key])}#names"


def _work_of(asked: ApprovalRequest) -> CleanupStage | Restore | None:
    """The stage or the restore with exactly the requested names: they cannot change while the request is open."""
    if asked.kind == Kind.DELETE_KEYS:
        return CleanupStage.objects.filter(approval=asked).first()
    return Restore.objects.filter(approval=asked).first()
