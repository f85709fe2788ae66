"""Root addresses. Other apps are named by string, so that `kvops` imports none of them."""

from django.urls import include, path

from kvops.views import theme

urlpatterns = [
    path("", include("kvops.pages")),
    path("", include("backups.urls")),
    path("audit/", include("audit.urls")),
    path("account/", include("allauth.account.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("theme/", theme.set_theme, name="theme"),
]
