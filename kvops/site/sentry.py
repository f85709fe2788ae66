"""Sentry, if it is asked for: errors by type and place, without any value.

An event is built anew from what may leave: types, frames, ids and the template of a log line. Messages of exceptions,
local variables, requests and breadcrumbs stay here, because they may quote values of KV.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from kvops import logs
from kvops.connections import credentials
from kvops.env import SettingError

KEPT = ("event_id", "timestamp", "level", "platform", "release", "environment", "server_name", "logger", "transaction")
FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app")


def start() -> None:
    """Report errors to the project of KVOPS_SENTRY_DSN. Raises SettingError if that cannot be done."""
    if not settings.KVOPS_SENTRY_DSN:
        return
    try:
        import sentry_sdk  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise SettingError("KVOPS_SENTRY_DSN needs sentry-sdk: pip install -r requirements-sentry.txt.") from error
    try:
        dsn = credentials.resolve(settings.KVOPS_SENTRY_DSN)
    except credentials.UnresolvedReference as error:
        raise SettingError(f"KVOPS_SENTRY_DSN: {error}") from error
    sentry_sdk.init(
        dsn,
        release=settings.VERSION,
        before_send=lambda event, _hint: allowed(event),  # type: ignore[arg-type, return-value]
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
    )


def allowed(event: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an event that may leave. Everything else is left out, known or not."""
    found: dict[str, Any] = {name: event[name] for name in KEPT if name in event}
    found["tags"] = {name: str(value) for name, value in logs.ids().items()}
    if template := (event.get("logentry") or {}).get("message"):
        found["logentry"] = {"message": template}
    if exceptions := (event.get("exception") or {}).get("values"):
        found["exception"] = {"values": [_exception(one) for one in exceptions]}
    return found


def _exception(one: Mapping[str, Any]) -> dict[str, Any]:
    frames = (one.get("stacktrace") or {}).get("frames") or []
    return {
        "type": one.get("type"),
        "module": one.get("module"),
        "stacktrace": {"frames": [{name: frame[name] for name in FRAME if name in frame} for frame in frames]},
    }
