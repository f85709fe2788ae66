"""The web server's entry point. A wrong setting is said in one sentence, and gunicorn does not try again."""

import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

from kvops import logs
from kvops.env import SettingError
from kvops.refusals import Refused

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvops.settings")
WORKER_BOOT_ERROR = 3  # gunicorn's exit status of a worker that shall not be started again

logs.catch_all()
try:
    if settings.AGE_IDENTITY or settings.DIGEST_KEY:
        raise SettingError("KVOPS_AGE_IDENTITY and KVOPS_DIGEST_KEY are for the worker: take them from the web server.")
    application = get_wsgi_application()
    import_string("backups.changes.review_key.insist_apart")()
except (SettingError, Refused) as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(WORKER_BOOT_ERROR)
