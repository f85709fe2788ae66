"""Log lines are JSON with ids and UTC. They say where an exception came from, and nothing that it says."""

import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from kvops import logs
from kvops.logs import Formatter, JsonLines
from tests import make
from tests.signing import signed_in

WORDS = secrets.token_hex(8)
PLAIN = Formatter("{asctime} {levelname} {name} {message}", style="{")


def record(message: str = "Run %s failed.", *args: object, error: bool = False, **extra: object) -> logging.LogRecord:
    """A record, on request with an exception whose words hold a secret, as those of its cause do."""
    made = logging.LogRecord("x", logging.ERROR, __file__, 1, message, args or (7,), None)
    made.created = 1_796_000_000.25
    vars(made).update(extra)
    if error:
        try:
            try:
                raise KeyError(WORDS)
            except KeyError as cause:
                raise ValueError(WORDS) from cause
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


def line(made: logging.LogRecord) -> dict[str, object]:
    """The fields of the one line of JSON."""
    text = JsonLines(json_ensure_ascii=False).format(made)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_an_exception_is_told_by_its_types_and_frames_alone() -> None:
    text = Formatter().format(record(error=True))
    assert WORDS not in text
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("Run 7 failed.", "builtins.ValueError")
    assert lines.index("builtins.KeyError") < lines.index("then")
    assert sum("test_logs.py" in one for one in lines) == 2


def test_a_line_of_json_tells_the_same_of_an_exception() -> None:
    told = str(line(record(error=True))["exception"])
    assert WORDS not in told
    assert told.endswith("builtins.ValueError")
    assert told.count("test_logs.py") == 2


@pytest.mark.parametrize("formatted", [PLAIN.format, JsonLines().format])
def test_what_another_handler_made_of_an_exception_is_left_out(formatted: Callable[[logging.LogRecord], str]) -> None:
    made = record(error=True)
    logging.Formatter().format(made)
    assert WORDS in str(made.exc_text)
    assert WORDS not in formatted(made)


def test_a_line_has_the_time_in_utc_with_its_zone() -> None:
    assert line(record()) == {
        "time": "2026-11-30T00:53:20.250Z", "level": "ERROR", "logger": "x", "message": "Run 7 failed.",
    }  # fmt: skip
    assert PLAIN.format(record()) == "2026-11-30T00:53:20.250Z ERROR x Run 7 failed."


def test_a_line_has_the_ids_of_what_it_belongs_to() -> None:
    with logs.bound(request="abc", person=lambda: 3), logs.bound(run=7):
        found = line(record())
        assert (found["request"], found["person"], found["run"]) == ("abc", 3, 7)
        assert PLAIN.format(record()).endswith("[request=abc person=3 run=7]")
    assert "request" not in line(record())


def test_the_extra_attributes_of_a_record_are_left_out() -> None:
    assert WORDS not in json.dumps(line(record(request=f"<WSGIRequest: GET '/key/?name={WORDS}'>", status_code=500)))


@pytest.fixture
def written() -> list[dict[str, object]]:
    """The lines of the access log, as JSON."""
    found: list[dict[str, object]] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(line(record))

    logger, handler = logging.getLogger("kvops.access"), Written()
    logger.addHandler(handler)
    return found


def test_each_request_is_a_line_of_the_access_log_without_its_query(
    people: make.People, written: list[dict[str, object]]
) -> None:
    answer = signed_in(people.auditor).get("/runs/", {"state": WORDS})
    found = written[-1]
    assert (found["method"], found["path"], found["status"]) == ("GET", "/runs/", 200)
    assert (found["person"], found["request"]) == (people.auditor.pk, answer.headers["X-Request-ID"])
    assert WORDS not in json.dumps(written)


@pytest.mark.parametrize(("given", "kept"), [("abcdef12", True), ("x" * 65, False), ('a" b\n', False), ("", False)])
def test_the_id_that_a_proxy_gave_is_kept_if_it_is_one(db: None, given: str, *, kept: bool) -> None:
    answer = Client().get("/healthz", HTTP_X_REQUEST_ID=given)
    assert (answer.headers["X-Request-ID"] == given) is kept


def test_a_probe_is_no_line(client: Client, db: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    client.get("/healthz")
    assert "/healthz" not in caplog.text


def test_the_queue_logs_no_task_and_quotes_no_exception() -> None:
    failed = record(
        f"Failed 'kvops.tasks.step' (step 7) - {WORDS} : Traceback (most recent call last):\n"
        f'  File "/srv/x.py", line 7, in work\n    raise ValueError({WORDS})\nValueError: {WORDS}\n'
    )  # fmt: skip
    failed.args = ()
    assert logs.QueueFilter().filter(failed)
    assert failed.getMessage() == "Failed 'kvops.tasks.step' (step 7)\n  File \"/srv/x.py\", line 7, in work"
    assert logging.getLogger("django-q").getEffectiveLevel() == logging.WARNING
    assert any(isinstance(one, logs.QueueFilter) for one in logging.getLogger("django-q").filters)


def run(code: str) -> str:
    """What a process of its own writes to its error output."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "kvops.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, env=environ, capture_output=True, text=True, check=False
    )
    return done.stderr


def test_an_exception_that_nobody_caught_quotes_nothing() -> None:
    words = f"raise ValueError('{WORDS[:8]}' + '{WORDS[8:]}')"
    told = run(f"from kvops import logs\nlogs.catch_all()\n{words}")
    assert WORDS not in told
    assert json.loads(told)["exception"].endswith("builtins.ValueError")
    told = run(f"import threading\nfrom kvops import logs\nlogs.catch_all()\ndef work(): {words}\n"
               "threading.Thread(target=work).start()")  # fmt: skip
    assert WORDS not in told
    assert json.loads(told)["exception"].endswith("builtins.ValueError")


def test_gunicorn_writes_as_the_product_does_also_what_escapes_django(tmp_path: Path) -> None:
    application = tmp_path / "broken.py"
    application.write_text(f"def application(environ, start): raise ValueError('{WORDS[:8]}' + '{WORDS[8:]}')\n")
    code = f"""
import os, signal, socket, threading, time, urllib.request, urllib.error
from gunicorn.app.wsgiapp import WSGIApplication
import sys
def ask():
    while True:
        try:
            urllib.request.urlopen("http://127.0.0.1:" + port, timeout=5)
        except urllib.error.HTTPError:
            os.kill(os.getppid(), signal.SIGTERM)
            return
        except OSError:
            time.sleep(0.05)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
if not os.fork():
    ask()
    os._exit(0)
sys.argv = ["gunicorn", "broken", "--pythonpath={tmp_path}", "--bind=127.0.0.1:" + port]
WSGIApplication("%(prog)s").run()
"""
    lines = [json.loads(one) for one in run(code).splitlines()]
    assert {one["logger"] for one in lines} == {"gunicorn.error"}
    assert any("Starting gunicorn" in one["message"] for one in lines)
    told = next(one for one in lines if "exception" in one)
    assert told["exception"].endswith("builtins.ValueError")
    assert WORDS not in json.dumps(lines)
