"""A wrong setting is one sentence at start, with its name; nobody reads a traceback."""

import os
import subprocess
import sys

import pytest

from kvops import env

PRODUCTION = {
    "SECRET_KEY": "for-tests-only-" + "x" * 50,
    "ALLOWED_HOSTS": "kvops.example.com",
    "KVOPS_ALLOWED_API_HOSTS": "api.cloudflare.com",
    "KVOPS_BASE_URL": "https://kvops.example.com",
    "DATABASE_URL": "postgres://kvops@127.0.0.1:1/kvops",
    "SMTP_HOST": "mail.example.com",
}
WRONG = [
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "postgres://[x/kvops"),
    ("KVOPS_BASE_URL", "https://"),
    ("KVOPS_WORKERS", "0"),
    ("SMTP_PORT", "70000"),
    ("CSRF_TRUSTED_ORIGINS", "kvops.example.com"),
    ("KVOPS_TIME_ZONE", "Mars/Olympus"),
    ("LOG_LEVEL", "LOUD"),
    ("KVOPS_WORKERS", "nan"),
    ("SECRET_KEY", "short"),
    ("KVOPS_METRICS_HOSTS", "prometheus"),
    ("KVOPS_METRICS_TOKEN", "short"),
    ("KVOPS_HEARTBEAT_URL", "http://hc.example.com/ping"),
]


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-c", "import kvops.wsgi"]], ids=["manage.py", "wsgi"])
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_one_sentence(name: str, value: str, command: list[str]) -> None:
    done = run(command, {**os.environ, "SMTP_HOST": "mail.example.com", name: value})
    assert done.returncode in {1, 3}
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{name} takes ")


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-c", "import kvops.wsgi"]], ids=["manage.py", "wsgi"])
def test_without_a_host_for_mail_only_the_sandbox_starts(command: list[str]) -> None:
    outside = {"PATH": os.environ["PATH"], **PRODUCTION, "SMTP_HOST": ""}
    sandbox = {"KVOPS_SANDBOX": "1", "KVOPS_ALLOWED_API_HOSTS": "127.0.0.1", "KVOPS_BASE_URL": "http://localhost:8000"}
    refused = run(command, outside)
    assert refused.returncode in {1, 3}
    assert refused.stderr.startswith("SMTP_HOST takes ")
    assert run(command, {**outside, **sandbox}).returncode == 0


def test_a_database_that_does_not_answer_is_one_sentence() -> None:
    done = run(["manage.py", "migrate"], {"PATH": os.environ["PATH"], **PRODUCTION})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("The database of DATABASE_URL does not answer: connection failed")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p%40@h:5/n?sslmode=verify-full&sslrootcert=/ca", ("h", "5", "verify-full")),
        ("postgres://u:p%40@/n?host=/run/postgresql", ("/run/postgresql", "", None)),
        ("postgres://u:p%40@%2Frun%2FPostgreSQL/n", ("/run/PostgreSQL", "", None)),
        ("postgres://u:p%40@[::1]:5/n", ("::1", "5", None)),
    ],
)
def test_tls_and_sockets_of_a_database_url_are_passed_on(url: str, expected: tuple[str, str, str | None]) -> None:
    found = env.database("URL", {"URL": url})
    options = found["OPTIONS"]
    assert isinstance(options, dict)
    assert (found["HOST"], found["PORT"], options.get("sslmode")) == expected
    assert (found["USER"], found["PASSWORD"], found["NAME"]) == ("u", "p@", "n")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@h/n?connect_timeout=3",
        "postgres://u@h/n?sslmode=on",
        "postgres://u@h/n?sslmode=require&sslmode=disable",
        "postgres://u@h/n?sslrootcert=",
        "postgres://u@h/n?sslmode",
        "postgres://u@h/n?host=/run/postgresql",
        "postgres://u@/n?host=db.example.com",
        "postgres://u:a#b@h/n",
        "postgres://u@h/n#b",
        "postgres://u@one:1,two:2/n",
    ],
)
def test_a_database_url_of_which_something_would_be_dropped_is_refused(url: str) -> None:
    with pytest.raises(env.SettingError, match=r"^URL ") as refused:
        env.database("URL", {"URL": url})
    assert "\n" not in str(refused.value)


def run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {**environ, "DJANGO_SETTINGS_MODULE": "kvops.settings"}
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
