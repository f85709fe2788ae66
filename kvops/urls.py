"""Root addresses. Other apps are named by string, so that `kvops` imports none of them."""

from django.urls import include, path
from django.views.generic import RedirectView

from kvops.site import preferences

handler403 = "kvops.site.errors.forbidden"
handler500 = "kvops.site.errors.failed"

urlpatterns = [
    path("", include("kvops.page_urls")),
    path("", include("backups.urls")),
    path("audit/", include("audit.urls")),
    # A login's address is the person's verified one, so nobody changes it or signs up by themselves.
    path("account/email/", RedirectView.as_view(url="/"), name="account_email"),
    path("account/signup/", RedirectView.as_view(url="/"), name="account_signup"),
    path("account/", include("allauth.account.urls")),
    path("i18n/setlang/", preferences.set_language, name="set_language"),
    path("theme/", preferences.set_theme, name="theme"),
]
