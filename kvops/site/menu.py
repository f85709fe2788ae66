"""The context of every page: menu, theme and version. Namespaces are read only for a signed-in person's menu."""

from dataclasses import dataclass, field

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, get_script_prefix, resolve, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from kvops.models import Namespace

# The addresses of the main pages are part of the product, so the menu has them as text.
_PAGES = (
    ("overview", "", "layout-dashboard", _("Overview")),
    ("keys", "keys/", "key-round", _("Keys")),
    ("categories", "categories/", "tags", _("Categories")),
    ("expiry", "expiry/", "hourglass", _("Expiry")),
    ("unexplained", "unexplained/", "circle-question-mark", _("Unexplained changes")),
    ("backups", "backups/", "archive", _("Backups")),
    ("integrity", "integrity/", "scale", _("Integrity")),
    ("references", "references/", "file-search", _("Code references")),
    ("cleanup", "cleanup/", "eraser", _("Clean-up")),
    ("changes", "changes/", "file-pen-line", pgettext_lazy("page", "Changes")),
    ("clearing", "clearing/", "timer-reset", _("Scheduled clearing")),
    ("approvals", "approvals/", "stamp", _("Approvals")),
    ("restores", "restores/", "archive-restore", _("Restores")),
    ("runs", "runs/", "activity", _("Runs")),
    ("retention", "retention/", "calendar-clock", _("Retention")),
    ("storage", "storage/", "hard-drive", _("Storage")),
    ("history", "backups/history/", "history", _("Backup history")),
    ("report", "backups/history/report/", "file-text", _("Retention report")),
    ("masters", "backups/masters/", "database", _("Masters and clinics")),
    ("investigations", "investigations/", "microscope", _("Investigations")),
    ("drills", "drills/", "life-buoy", _("Drills")),
    ("runbook", "runbook/", "notebook-pen", _("Runbook")),
    ("schedules", "schedules/", "calendar-clock", _("Schedules")),
    ("notifications", "notifications/", "bell", _("Notifications")),
    ("audit", "audit/", "scroll-text", _("Audit")),
    ("environments", "environments/", "server", _("Environments")),
    ("people", "people/", "users", _("People")),
)
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
class NavNamespace:
    """A namespace in the menu."""

    binding: str
    url: str


@dataclass(frozen=True, slots=True)
class NavEnvironment:
    """An environment in the menu, with its namespaces."""

    name: str
    production: bool
    namespaces: list[NavNamespace] = field(default_factory=list)


def shell(request: HttpRequest) -> dict[str, object]:
    """The menu, the theme and the version, for `base.html`."""
    return {
        "nav": _nav(request.path),
        "nav_environments": SimpleLazyObject(_environments),
        "theme": _theme(request),
        "here": _here(request),
        "themes": THEMES,
        "version": settings.VERSION,
    }


def _environments() -> list[NavEnvironment]:
    found: dict[str, NavEnvironment] = {}
    for one in Namespace.objects.select_related("environment").order_by("environment__order", "binding"):
        slug = one.environment.slug
        entry = found.setdefault(slug, NavEnvironment(one.environment.name, one.environment.production))
        entry.namespaces.append(NavNamespace(one.binding, reverse("keys", args=[slug, one.binding])))
    return list(found.values())


def _nav(path: str) -> list[NavItem]:
    """The entries. One at most is current: the one with the longest address that begins the path."""
    prefix = get_script_prefix()
    hrefs = {key: prefix + address for key, address, _icon, _label in _PAGES}
    alone = {prefix, hrefs["keys"]}
    begun = [href for href in hrefs.values() if path.startswith(href) and (href not in alone or path == href)]
    here = max(begun, key=len, default=None)
    return [NavItem(key, hrefs[key], icon, label, hrefs[key] == here) for key, _address, icon, label in _PAGES]


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
