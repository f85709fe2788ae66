"""The one-time link by which a person chooses a password. It is a secret: it is never stored and never logged."""

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.urls import reverse

from kvops.models import User


def password_link(user: User) -> str:
    """A link that is good until a password was chosen, for `timing.INVITED` seconds at the most."""
    key = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return f"{settings.BASE_URL}{reverse('account_reset_password_from_key', kwargs=key)}"
