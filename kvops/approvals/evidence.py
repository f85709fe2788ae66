"""Evidence as canonical text, and its digest."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256


def canonical_evidence(evidence: Mapping[str, object]) -> str:
    """The one text of the evidence that is shown, stored and digested: sorted keys, no spaces, UTF-8."""
    return json.dumps(evidence, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(text: str) -> str:
    """SHA-256 of canonical evidence, in hex."""
    return sha256(text.encode()).hexdigest()


def moment(at: datetime | None) -> str:
    """A moment in evidence: in UTC, empty for none."""
    return at.astimezone(UTC).isoformat() if at else ""
