"""The pages of the menu, in groups, and others with a name of their own.

Their addresses are part of the product, so the menu has them as text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy


@dataclass(frozen=True, slots=True)
class MenuPage:
    """A page of the menu, shown to persons with the permission."""

    key: str
    address: str
    icon: str
    label: Promise
    permission: str = "kvops.view"


@dataclass(frozen=True, slots=True)
class MenuGroup:
    """Pages under one heading; the first group has none."""

    key: str
    label: str | Promise
    pages: tuple[MenuPage, ...]


GROUPS = (
    MenuGroup(
        "top",
        "",
        (
            MenuPage("overview", "", "layout-dashboard", _("Overview")),
            MenuPage("approvals", "approvals/", "stamp", _("Approvals")),
            MenuPage("todos", "runbook/todo/", "list-todo", _("To-dos")),
        ),
    ),
    MenuGroup(
        "keys",
        pgettext_lazy("menu", "Keys"),
        (
            MenuPage("keys", "keys/", "key-round", _("Keys")),
            MenuPage("categories", "categories/", "tags", _("Categories")),
            MenuPage("expiry", "expiry/", "hourglass", _("Expiry")),
            MenuPage("references", "references/", "file-search", _("Code references")),
        ),
    ),
    MenuGroup(
        "change",
        pgettext_lazy("menu", "Change"),
        (
            MenuPage("cleanup", "cleanup/", "eraser", _("Clean-up")),
            MenuPage("restores", "restores/", "archive-restore", _("Restores")),
            MenuPage("changes", "changes/", "file-pen-line", pgettext_lazy("page", "Changes")),
            MenuPage("clearing", "clearing/", "timer-reset", _("Scheduled clearing")),
        ),
    ),
    MenuGroup(
        "backups",
        pgettext_lazy("menu", "Backups"),
        (
            MenuPage("backups", "backups/", "archive", _("Backups")),
            MenuPage("masters", "backups/masters/", "database", _("Masters and clinics")),
            MenuPage("integrity", "integrity/", "scale", _("Integrity")),
            MenuPage("history", "backups/history/", "history", _("Backup history")),
            MenuPage("retention", "retention/", "calendar-clock", _("Retention")),
            MenuPage("storage", "storage/", "hard-drive", _("Storage")),
            MenuPage("drills", "drills/", "life-buoy", _("Drills")),
            MenuPage("investigations", "investigations/", "microscope", _("Investigations")),
        ),
    ),
    MenuGroup(
        "watch",
        pgettext_lazy("menu", "Watch"),
        (
            MenuPage("runs", "runs/", "activity", _("Runs")),
            MenuPage("unexplained", "unexplained/", "circle-question-mark", _("Unexplained changes")),
            MenuPage("schedules", "schedules/", "calendar-days", _("Schedules")),
            MenuPage("runbook", "runbook/", "notebook-pen", _("Runbook")),
            MenuPage("audit", "audit/", "scroll-text", _("Audit log")),
        ),
    ),
    MenuGroup(
        "settings",
        pgettext_lazy("menu", "Settings"),
        (
            MenuPage("environments", "environments/", "server", _("Environments")),
            MenuPage("people", "people/", "users", _("People")),
            MenuPage("notifications", "notifications/", "bell", _("Notifications")),
            MenuPage("doctor", "environments/doctor/", "stethoscope", _("Doctor"), "kvops.operate"),
            MenuPage("help", "help/", "book-open", _("Help")),
        ),
    ),
)
SHORTCUTS = {"o": "overview", "k": "keys", "a": "approvals", "r": "runs"}
"""The letters that lead to a page after a `g`."""
PAGES = tuple(page for group in GROUPS for page in group.pages)
OTHERS: Mapping[str, Promise] = {
    "account/preferences/": _("Preferences"),
    "backups/history/report/": _("Retention report"),
    "backups/vault/": _("Settings backups in 1Password"),
    "categories/shapes/": _("Unclassified keys by shape"),
    "changes/bulk/": _("Bulk changes"),
    "environments/": _("Emergency stop"),
    "retention/prunes/": _("Prune requests"),
    "runbook/procedures/": _("Procedures"),
    "unexplained/settings/": _("Settings changed outside KVOps"),
}
"""Address -> name. The menu does not have them; the search finds them. Each person may see them."""
