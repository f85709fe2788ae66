"""Root addresses. Other apps are named by string, so that `kvops` imports none of them."""

from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from kvops.views import theme

handler403 = "kvops.views.errors.forbidden"

urlpatterns = [
    path("", include("kvops.pages")),
    path("", include("backups.urls")),
    path("audit/", include("audit.urls")),
    # A login's address is the person's verified one, so nobody changes it or signs up by themselves.
    path("account/email/", RedirectView.as_view(url="/"), name="account_email"),
    path("account/signup/", RedirectView.as_view(url="/"), name="account_signup"),
    path("account/", include("allauth.account.urls")),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("theme/", theme.set_theme, name="theme"),
]
