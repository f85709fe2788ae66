"""The emergency stop on every page: `{% load emergency %}`."""

from django import template
from django.template import Context

from kvops.models import ApprovalRequest, EmergencyStop, Environment, User

register = template.Library()


def _may(context: Context, permission: str) -> bool:
    user = context.get("user")
    return isinstance(user, User) and user.has_perm(permission)


@register.inclusion_tag("includes/emergency_banner.html", takes_context=True)
def emergency_banner(context: Context) -> dict[str, object]:
    """Every stop in force; on a page of one environment, only its stop."""
    if not _may(context, "kvops.view"):
        return {}
    environment = context.get("environment")
    here = environment if isinstance(environment, Environment) else None
    stops = [stop for stop in context["stops_in_force"] if here is None or stop.environment == here]
    return {"stops": [(stop, release_of(stop)) for stop in stops], "approval": context.get("approval")}


@register.inclusion_tag("includes/emergency_button.html", takes_context=True)
def emergency_button(context: Context, environment: Environment) -> dict[str, object]:
    """The button that stops an environment or, if it is stopped, requests the release."""
    stop = next((one for one in context["stops_in_force"] if one.environment == environment), None)
    return {
        "csrf_token": context.get("csrf_token"),
        "environment": environment,
        "stop": stop,
        "release": release_of(stop) if stop else None,
        "may_stop": _may(context, "kvops.stop"),
        "may_operate": _may(context, "kvops.operate"),
    }


def release_of(stop: EmergencyStop) -> ApprovalRequest | None:
    """The open request to release a stop."""
    open_ = [ApprovalRequest.State.PENDING, ApprovalRequest.State.APPROVED]
    return ApprovalRequest.objects.filter(
        kind=ApprovalRequest.Kind.RELEASE_STOP, subject=f"stop:{stop.pk}", state__in=open_
    ).last()
