"""Whether Cloudflare still knows the write token: the worker asks once a day, so that a revoked one is known in time.

Without this question it is known only when the next clean-up, restore or change writes.
"""

import logging
from http import HTTPStatus

from kvops.cloudflare import Cloudflare, CloudflareError, Unmetered
from kvops.connections import clients, credentials, refused_tokens
from kvops.models import Environment
from kvops.supervision import heartbeats

logger = logging.getLogger(__name__)

EVERY = 86_400.0
"""Seconds between two questions. One without an answer is asked again at the next look."""


def ask_when_due(environment: Environment) -> None:
    """Ask Cloudflare whether the write token is active, unless it answered within a day. Only the worker calls it."""
    asked = f"write_token {environment.pk}"
    answered = heartbeats.age(asked)
    if answered is not None and answered < EVERY:
        return
    try:
        token = credentials.resolve(environment.write_token)
        connection = clients.connection(environment)
        connection["meter"] = Unmetered()  # the other would note the answer to the first of two questions as a refusal
        with Cloudflare(token=token, **connection) as client:
            active = client.token_is_active()
    except credentials.UnresolvedReference as missing:
        logger.warning("The write token of %s is not in this process: %s", environment.slug, missing)
        return
    except CloudflareError as error:
        logger.warning("Cloudflare did not answer about the write token of %s: %s", environment.slug, error)
        return
    heartbeats.beat(asked)
    if active:
        refused_tokens.note_accepted(environment, environment.write_token, ["verify_token"])
    else:
        unknown = {"verify_token": HTTPStatus.UNAUTHORIZED}
        refused_tokens.note_refused(environment, environment.write_token, unknown)
