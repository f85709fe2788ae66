"""A wrong setting is one sentence at start, with its name; nobody reads a traceback."""

import os
import subprocess
import sys

import pytest

WRONG = [
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "postgres://[x/kvops"),
    ("KVOPS_TIME_ZONE", "Mars/Olympus"),
    ("LOG_LEVEL", "LOUD"),
    ("KVOPS_WORKERS", "nan"),
    ("SECRET_KEY", "short"),
]


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-c", "import kvops.wsgi"]], ids=["manage.py", "wsgi"])
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_one_sentence(name: str, value: str, command: list[str]) -> None:
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "kvops.settings", name: value}
    done = subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {1, 3}
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{name} takes ")
