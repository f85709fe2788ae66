"""What the shell around every page needs. Reads nothing from the database."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.urls import get_script_prefix
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# The addresses of the main pages are part of the product, so the menu names them as such.
_PAGES = (
    ("overview", "", "layout-dashboard", _("Overview")),
    ("keys", None, "key-round", _("Keys")),
    ("categories", "categories/", "tags", _("Categories")),
    ("backups", "backups/", "archive", _("Backups")),
    ("integrity", "integrity/", "scale", _("Integrity")),
    ("cleanup", "cleanup/", "eraser", _("Clean-up")),
    ("approvals", "approvals/", "stamp", _("Approvals")),
    ("runs", "runs/", "activity", _("Runs")),
    ("audit", "audit/", "scroll-text", _("Audit")),
    ("environments", "environments/", "server", _("Environments")),
)
THEMES = {"auto": _("Like the system"), "light": _("Light"), "dark": _("Dark")}


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the menu; `href` is empty for Keys, whose entries are the namespaces."""

    key: str
    href: str
    icon: str
    label: Promise
    current: bool


def shell(request: HttpRequest) -> dict[str, object]:
    """The menu, the theme and the version, for `base.html`."""
    return {"nav": _nav(request.path), "theme": _theme(request), "themes": THEMES, "version": settings.VERSION}


def _nav(path: str) -> list[NavItem]:
    prefix = get_script_prefix()
    items = []
    for key, address, icon, label in _PAGES:
        href = "" if address is None else prefix + address
        current = path == href if href == prefix else bool(href) and path.startswith(href)
        items.append(NavItem(key, href, icon, label, current))
    return items


def _theme(request: HttpRequest) -> str:
    theme = request.COOKIES.get("theme", "auto")
    return theme if theme in THEMES else "auto"
