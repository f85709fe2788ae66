"""The frame of every page: numbers of the menu, the emergency stop of the header, the tab: `{% load navigation %}`."""

from django import template
from django.contrib.messages import get_messages
from django.contrib.messages.storage.base import Message
from django.template import Context

from kvops.models import Environment, Run, User

register = template.Library()


@register.inclusion_tag("includes/nav_badges.html", takes_context=True)
def nav_badges(context: Context, entry: str) -> dict[str, object]:
    """The numbers beside an entry of the menu: work that waits for the person, and what is wrong."""
    return {"found": context["badges"].get(entry, ())}


@register.inclusion_tag("includes/emergency_menu.html", takes_context=True)
def emergency_menu(context: Context) -> dict[str, object]:
    """The emergency stop of the header: a button for each environment, that of the page first."""
    user = context.get("user")
    if not isinstance(user, User) or not user.has_perm("kvops.stop"):
        return {}
    here = context.get("environment") or context.get("band")
    slug = here.slug if isinstance(here, Environment) else ""
    stopped = {stop.environment.slug for stop in context["stops_in_force"]}
    places = sorted(context["nav_environments"], key=lambda place: place.slug != slug)
    return {
        "csrf_token": context.get("csrf_token"),
        "places": [(place, place.slug in stopped) for place in places],
        "here": slug,
    }


@register.simple_tag(takes_context=True)
def under_way(context: Context) -> Run | None:
    """The open run that the page is about: its own, or that of its stage."""
    run = context.get("run") or getattr(context.get("card"), "run", None)
    return run if isinstance(run, Run) and run.is_open else None


@register.simple_tag
def tab_progress(run: Run | None) -> str:
    """The beginning of the tab's title while a run is under way: its progress, if its total is known."""
    return "" if run is None or run.percent is None else f"{run.percent} % · "


@register.simple_tag(takes_context=True)
def waiting_messages(context: Context) -> list[Message]:
    """The messages for the next page in the frame. They are shown now, too, and stay for that page."""
    waiting = get_messages(context["request"])
    shown = list(waiting)
    waiting.used = False  # type: ignore[union-attr]
    return shown
