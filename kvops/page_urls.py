"""The addresses of this app."""

from django.urls import URLPattern, path

from kvops.approvals import views as approval_views
from kvops.doctor import views as doctor_views
from kvops.environments import views as environment_views
from kvops.help import pages as help_pages
from kvops.inventory import key_views, unexplained_views, views as inventory_views
from kvops.inventory.key_list import views as key_list_views
from kvops.metrics import views as metrics_views
from kvops.notifications import views as notification_views
from kvops.overview import views as overview_views
from kvops.preferences import views as preference_views
from kvops.references import deployed_views, views as reference_views
from kvops.roles import views as role_views
from kvops.runbook import views as runbook_views
from kvops.runs import views as run_views
from kvops.schedules import views as schedule_views
from kvops.search import views as search_views
from kvops.site import health, style

urlpatterns: list[URLPattern] = [
    path("", overview_views.index, name="home"),
    path("live", overview_views.live, name="home-live"),
    path("account/preferences/", preference_views.index, name="preferences"),
    path("approvals/", approval_views.index, name="approvals"),
    path("approvals/<int:pk>/", approval_views.detail, name="approval"),
    path("approvals/<int:pk>/apply", approval_views.apply, name="approval-apply"),
    path("approvals/<int:pk>/decide", approval_views.decide, name="approval-decide"),
    path("approvals/<int:pk>/withdraw", approval_views.withdraw, name="approval-withdraw"),
    path("approvals/changes/<int:pk>/submit", approval_views.submit_change, name="change-submit"),
    path("categories/", inventory_views.categories, name="categories"),
    path("environments/", environment_views.index, name="environments"),
    path("environments/doctor/", doctor_views.index, name="doctor"),
    path("environments/<slug:environment>/check", environment_views.check, name="environment-check"),
    path("environments/<slug:environment>/release", environment_views.release, name="environment-release"),
    path("environments/<slug:environment>/stop", environment_views.stop, name="environment-stop"),
    path("expiry/", inventory_views.expiry, name="expiry"),
    path("healthz", health.healthz, name="healthz"),
    path("healthz/work", health.work, name="healthz-work"),
    path("help/", help_pages.index, name="help"),
    path("key/<slug:environment>/<slug:binding>/", key_views.detail, name="key"),
    path("key/<slug:environment>/<slug:binding>/reveal", key_views.reveal, name="key-reveal"),
    path("key/<slug:environment>/<slug:binding>/value", key_views.value, name="key-value"),
    path("keys/", inventory_views.namespaces, name="namespaces"),
    path("keys/<slug:environment>/<slug:binding>/", inventory_views.index, name="keys"),
    path("keys/<slug:environment>/<slug:binding>/compare/<slug:other>/", key_list_views.compare, name="keys-compare"),
    path("keys/<slug:environment>/<slug:binding>/ticked", key_list_views.ticked, name="keys-ticked"),
    path("keys/<slug:environment>/<slug:binding>/names", inventory_views.download, name="keys-download"),
    path("keys/<slug:environment>/<slug:binding>/scan", inventory_views.scan, name="scan"),
    path("style/", style.components, name="style"),
    path("unexplained/", unexplained_views.index, name="unexplained"),
    path("unexplained/<int:pk>/", unexplained_views.detail, name="unexplained-scan"),
    path("unexplained/<int:pk>/acknowledge", unexplained_views.acknowledge, name="unexplained-acknowledge"),
    path("unexplained/<int:pk>/cloudflare", unexplained_views.ask_cloudflare, name="unexplained-cloudflare"),
    path("unexplained/<int:pk>/names", unexplained_views.download, name="unexplained-names"),
    path("metrics", metrics_views.metrics, name="metrics"),
    path("notifications/", notification_views.index, name="notifications"),
    path("notifications/<int:pk>/again", notification_views.again, name="notification-again"),
    path("notifications/<int:pk>/drop", notification_views.drop, name="notification-drop"),
    path("people/", role_views.index, name="people"),
    path("people/invite/", role_views.invite, name="person-invite"),
    path("people/<int:pk>/", role_views.detail, name="person"),
    path("people/<int:pk>/ask", role_views.ask, name="person-ask"),
    path("people/<int:pk>/invite-again", role_views.invite_again, name="person-invite-again"),
    path("readyz", health.readyz, name="readyz"),
    path("references/<slug:environment>/deployed/", deployed_views.index, name="deployed-code"),
    path("references/<slug:environment>/deployed/look", deployed_views.look, name="deployed-look"),
    path("runbook/", runbook_views.index, name="runbook"),
    path("runbook/<int:number>/", runbook_views.detail, name="runbook-entry"),
    path("runbook/<int:number>/markdown", runbook_views.entry_file, name="runbook-entry-file"),
    path("runbook/<int:number>/note", runbook_views.note, name="runbook-note"),
    path("runbook/<int:number>/todo", runbook_views.add_todo, name="runbook-todo-add"),
    path("runbook/by-hand/<int:pk>/", runbook_views.stated, name="runbook-stated"),
    path("runbook/by-hand/new/", runbook_views.state_by_hand, name="runbook-by-hand"),
    path("runbook/markdown", runbook_views.download, name="runbook-file"),
    path("runbook/procedures/", runbook_views.all_procedures, name="runbook-procedures"),
    path("runbook/todo/", runbook_views.todos, name="runbook-todos"),
    path("runbook/todo/<int:pk>/done", runbook_views.todo_done, name="runbook-todo-done"),
    path("references/<slug:environment>/deployed/<int:pk>/search", deployed_views.search, name="deployed-search"),
    path("reference-searches/<int:pk>/", reference_views.by_number, name="reference-search"),
    path("references/", reference_views.index, name="references"),
    path("references/<slug:environment>/", reference_views.environment, name="references-environment"),
    path("references/<slug:environment>/<int:pk>/", reference_views.search, name="references-search"),
    path("references/<slug:environment>/take", reference_views.take, name="references-take"),
    path("runs/", run_views.index, name="runs"),
    path("runs/<int:pk>/", run_views.detail, name="run"),
    path("runs/<int:pk>/live", run_views.live, name="run-live"),
    path("runs/<int:pk>/resume", run_views.resume, name="run-resume"),
    path("runs/<int:pk>/stop", run_views.stop, name="run-stop"),
    path("search/", search_views.index, name="search"),
    path("search/palette", search_views.palette, name="search-results"),
    path("schedules/", schedule_views.index, name="schedules"),
    path("schedules/<int:pk>/", schedule_views.detail, name="schedule"),
    path("schedules/<int:pk>/change", schedule_views.change, name="schedule-change"),
    path("schedules/<int:pk>/pause", schedule_views.pause, name="schedule-pause"),
    path("schedules/<int:pk>/unpause", schedule_views.unpause, name="schedule-unpause"),
]
