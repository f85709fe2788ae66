"""The estate's own addresses."""

from django.urls import URLPattern, path

from kvops.approvals import views as approvals
from kvops.environments import views as environments
from kvops.inventory import family_views as categories
from kvops.inventory import key_views as key
from kvops.inventory import missing_views as missing
from kvops.inventory import views as keys
from kvops.notifications import views as notifications
from kvops.overview import views as overview
from kvops.runs import views as runs
from kvops.schedules import views as schedules
from kvops.site import health

urlpatterns: list[URLPattern] = [
    path("", overview.index, name="home"),
    path("live", overview.live, name="home-live"),
    path("approvals/", approvals.index, name="approvals"),
    path("approvals/<int:pk>/", approvals.detail, name="approval"),
    path("approvals/<int:pk>/apply", approvals.apply, name="approval-apply"),
    path("approvals/<int:pk>/decide", approvals.decide, name="approval-decide"),
    path("approvals/<int:pk>/withdraw", approvals.withdraw, name="approval-withdraw"),
    path("approvals/changes/<int:pk>/submit", approvals.submit_change, name="change-submit"),
    path("categories/", categories.index, name="categories"),
    path("environments/", environments.index, name="environments"),
    path("environments/<slug:environment>/check", environments.check, name="environment-check"),
    path("environments/<slug:environment>/release", environments.release, name="environment-release"),
    path("environments/<slug:environment>/stop", environments.stop, name="environment-stop"),
    path("healthz", health.healthz, name="healthz"),
    path("key/<slug:environment>/<str:binding>/", key.detail, name="key"),
    path("key/<slug:environment>/<str:binding>/value", key.value, name="key-value"),
    path("keys/<slug:environment>/<str:binding>/", keys.index, name="keys"),
    path("keys/<slug:environment>/<str:binding>/names", keys.download, name="keys-download"),
    path("keys/<slug:environment>/<str:binding>/scan", keys.scan, name="scan"),
    path("unexplained/", missing.index, name="unexplained"),
    path("unexplained/<int:pk>/", missing.detail, name="unexplained-scan"),
    path("unexplained/<int:pk>/acknowledge", missing.acknowledge, name="unexplained-acknowledge"),
    path("unexplained/<int:pk>/names", missing.download, name="unexplained-names"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/<int:pk>/again", notifications.again, name="notification-again"),
    path("notifications/<int:pk>/drop", notifications.drop, name="notification-drop"),
    path("readyz", health.readyz, name="readyz"),
    path("runs/", runs.index, name="runs"),
    path("runs/<int:pk>/", runs.detail, name="run"),
    path("runs/<int:pk>/live", runs.live, name="run-live"),
    path("runs/<int:pk>/resume", runs.resume, name="run-resume"),
    path("runs/<int:pk>/stop", runs.stop, name="run-stop"),
    path("schedules/", schedules.index, name="schedules"),
    path("schedules/<int:pk>/", schedules.detail, name="schedule"),
    path("schedules/<int:pk>/change", schedules.change, name="schedule-change"),
    path("schedules/<int:pk>/pause", schedules.pause, name="schedule-pause"),
    path("schedules/<int:pk>/unpause", schedules.unpause, name="schedule-unpause"),
]
