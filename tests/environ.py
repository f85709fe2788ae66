"""The settings the tests run with; loaded by pytest before Django is."""

import os
import tempfile

os.environ.update(
    {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "KVOPS_TESTING": "1",
        "KVOPS_TIME_SCALE": "0.01",
        "SECRET_KEY": "for-tests-only-" + "x" * 50,
        "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
        "KVOPS_ALLOWED_API_HOSTS": "127.0.0.1,localhost",
        "KVOPS_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1",
        "KVOPS_BASE_URL": "http://localhost:8000",
        "KVOPS_STATIC_ROOT": tempfile.mkdtemp(prefix="kvops-static-"),
    }
)
os.environ.setdefault("DATABASE_URL", "postgres://kvops@127.0.0.1:5432/kvops")
