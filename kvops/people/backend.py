"""The login of a request, read with its person and the roles in one query."""

from allauth.account.auth_backends import AuthenticationBackend

from kvops.models import User


class LoginBackend(AuthenticationBackend):  # type: ignore[misc]  # allauth ships no types
    """Signs people in as allauth does, and reads the login of each request with its person and roles."""

    def get_user(self, user_id: int) -> User | None:
        """The login of a session; None if it may not sign in any more."""
        user = User.objects.with_roles().filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None
