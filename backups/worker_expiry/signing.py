"""Signed calls between a Worker and KVOps: HMAC-SHA256 with one key per rule.

The key is a secret by reference: the variable `KVOPS_WORKER_KEY_<number of the rule>` of the web server holds one. A
call is signed over its method, path, time, nonce and body. An answer is signed over the path and the nonce of its call,
the status and the body, so that nobody between the two can say yes.
"""

import hmac
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvops import env
from kvops.connections import credentials

logger = logging.getLogger(__name__)

SHORTEST = 32
"""Characters. A shorter key is refused."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9a-f-]{36}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def variable(rule: int) -> str:
    """The name of the variable with the reference to the key of a rule."""
    return f"KVOPS_WORKER_KEY_{rule}"


def key_of(rule: int, environ: Mapping[str, str] = os.environ) -> str:
    """The key of a rule; empty, with the reason in the log, if this process has none."""
    try:
        reference = env.reference(variable(rule), environ)
        key = credentials.resolve(reference) if reference else ""
    except (env.SettingError, credentials.UnresolvedReference) as error:
        logger.error("The key of the Worker of rule %s: %s", rule, error)  # noqa: TRY400  (one line says all)
        return ""
    if key and len(key) < SHORTEST:
        logger.error("%s: the key has fewer than %s characters.", variable(rule), SHORTEST)
        return ""
    return key


def sign(key: str, *parts: str | bytes) -> str:
    """The signature over the parts, one a line."""
    lines = b"\n".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hmac.digest(key.encode(), lines, "sha256").hex()


@dataclass(frozen=True)
class SignedCall:
    """The parts of a call that its signature is over."""

    path: str
    timestamp: str
    nonce: str
    body: bytes

    def is_signed(self, key: str, signature: str) -> bool:
        """Whether the call has the form of one, and its signature is right."""
        if not (_TIMESTAMP.fullmatch(self.timestamp) and _NONCE.fullmatch(self.nonce)):
            return False
        if not _SIGNATURE.fullmatch(signature):
            return False
        return hmac.compare_digest(sign(key, "POST", self.path, self.timestamp, self.nonce, self.body), signature)


def signature_of_answer(key: str, path: str, nonce: str, status: int, body: str) -> str:
    """The signature of an answer to the call with this nonce."""
    return sign(key, "answer", path, nonce, str(status), body)
