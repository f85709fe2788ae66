"""The context of every page: menu, theme and version. The database is read only for a signed-in person's menu."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, get_script_prefix, resolve, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from kvops import rollback
from kvops.models import EmergencyStop, Namespace
from kvops.site import badges as menu_badges
from kvops.site.badges import Badge
from kvops.site.pages import GROUPS, PAGES, SHORTCUTS

_SHORTCUTS = [(letter, page) for letter, key in SHORTCUTS.items() for page in PAGES if page.key == key]

THEMES = {"auto": _("Like the system"), "light": _("Light"), "dark": _("Dark")}


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the menu. The entry of the keys has the namespaces below it."""

    key: str
    href: str
    icon: str
    label: Promise
    current: bool


@dataclass(frozen=True, slots=True)
class NavGroup:
    """Entries of the menu under one heading."""

    key: str
    label: str | Promise
    items: list[NavItem]


@dataclass(frozen=True, slots=True)
class NavNamespace:
    """A namespace in the menu."""

    binding: str
    url: str


@dataclass(frozen=True, slots=True)
class NavEnvironment:
    """An environment in the menu, with its namespaces."""

    slug: str
    name: str
    production: bool
    namespaces: list[NavNamespace] = field(default_factory=list)


def shell(request: HttpRequest) -> dict[str, object]:
    """The menu, the theme and the version, for `base.html`."""
    prefix = get_script_prefix()
    user = getattr(request, "user", None)
    badges: Any = SimpleLazyObject(lambda: menu_badges.of(user))
    # Where the menu counts no stop and no rollback, there is none to read.
    stops = SimpleLazyObject(lambda: _stops() if _counts(badges, menu_badges.stops) else [])
    rolled_back = SimpleLazyObject(
        lambda: rollback.rollback_in_force() if _counts(badges, menu_badges.rolled_back) else None
    )
    return {
        "nav": SimpleLazyObject(lambda: _nav(request)),
        "nav_environments": SimpleLazyObject(_environments),
        "badges": badges,
        "stops_in_force": stops,
        "rolled_back": rolled_back,
        "has_alarm": SimpleLazyObject(lambda: any(one.alarm for some in badges.values() for one in some)),
        "shortcuts": [(letter, prefix + page.address, page.label) for letter, page in _SHORTCUTS],
        "theme": _theme(request),
        "here": _here(request),
        "themes": THEMES,
        "version": settings.VERSION,
    }


def _counts(badges: Mapping[str, list[Badge]], rows: object) -> bool:
    """Whether a number of the menu counts these rows."""
    return any(one.rows == rows for some in badges.values() for one in some)


def _stops() -> list[EmergencyStop]:
    stops = EmergencyStop.objects.in_force().select_related("environment", "by")
    return list(stops.order_by("environment__order"))


def _environments() -> list[NavEnvironment]:
    found: dict[str, NavEnvironment] = {}
    for binding, slug, name, production in Namespace.objects.order_by("environment__order", "binding").values_list(
        "binding", "environment__slug", "environment__name", "environment__production"
    ):
        entry = found.setdefault(slug, NavEnvironment(slug, name, production))
        entry.namespaces.append(NavNamespace(binding, reverse("keys", args=[slug, binding])))
    return list(found.values())


def _nav(request: HttpRequest) -> list[NavGroup]:
    """The groups. One entry at most is current: the one with the longest address that begins the path."""
    path, prefix, user = request.path, get_script_prefix(), getattr(request, "user", None)
    hrefs = {page.key: prefix + page.address for page in PAGES}
    alone = {prefix, hrefs["keys"]}
    begun = [href for href in hrefs.values() if path.startswith(href) and (href not in alone or path == href)]
    here = max(begun, key=len, default=None)
    return [
        NavGroup(
            group.key,
            group.label,
            [
                NavItem(page.key, hrefs[page.key], page.icon, page.label, hrefs[page.key] == here)
                for page in group.pages
                if page.permission == "kvops.view" or (user and user.has_perm(page.permission))
            ],
        )
        for group in GROUPS
    ]


def _here(request: HttpRequest) -> str:
    return request.get_full_path() if request.method in {"GET", "HEAD"} else page_of(request)


def page_of(request: HttpRequest) -> str:
    """The address of the page that shows the button of a request. Addresses of pages end with a slash."""
    path, query = request.path_info, request.GET.urlencode()
    if request.method in {"GET", "HEAD"}:
        path = _above(path)
    while not (path.endswith("/") and _exists(path)):
        path = _above(path)
    address = get_script_prefix() + path.removeprefix("/")
    return f"{address}?{query}" if query else address


def _above(path: str) -> str:
    return path[: path.rstrip("/").rfind("/") + 1] or "/"


def _exists(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return path == "/"
    return True


def _theme(request: HttpRequest) -> str:
    theme = request.COOKIES.get("theme", "auto")
    return theme if theme in THEMES else "auto"
