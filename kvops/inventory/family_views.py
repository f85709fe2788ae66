"""The policy as data: families, their keys in each environment, and the meaning of a category."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kvops.approvals import prepared_changes
from kvops.inventory import families as key_families
from kvops.models import ApprovalRequest, PolicyVersion


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the families in force, their keys, and the prepared change."""
    context = {
        "rows": key_families.in_environments(),
        "policy": PolicyVersion.objects.order_by("-number").first(),
        "change": prepared_changes.waiting_change(ApprovalRequest.Kind.POLICY),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "categories/index.html", context)
