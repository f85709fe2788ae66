"""The product's settings, with what would only make the tests slow replaced."""

from kvops.settings import *  # noqa: F403
from kvops.settings import STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
