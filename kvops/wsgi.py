"""The web server's entry point."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from kvops.env import SettingError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvops.settings")
if settings.AGE_IDENTITY or settings.DIGEST_KEY:
    raise SettingError("KVOPS_AGE_IDENTITY and KVOPS_DIGEST_KEY are for the worker: take them from the web server.")
application = get_wsgi_application()
