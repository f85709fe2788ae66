"""Whether a Worker can write a key's metadata back as it is. Pure: no database.

A Worker reads metadata as JavaScript values, and a JavaScript number does not keep every number. `rounds.js` has the
same rule. A key with such a number is left alone. The same values may be written in another way: 1 for 1.0, 0 for
1e-400, the last of two members of one name. A Worker cannot see these differences.
"""

import json
import math
import re

SAFE = 2**53 - 1
"""The greatest whole number that JavaScript keeps exactly."""
EXACT_DIGITS = 15
"""Digits. A number with so many significant digits is always kept."""

_NO_DIGIT = re.compile(r"e.*|\D")


def keeps_exactly(metadata: str | None) -> bool:
    """Whether JavaScript keeps every number of a metadata text, perhaps in another spelling.

    Text that is not JSON is never kept.
    """
    if metadata is None:
        return True
    try:
        return _kept(json.loads(metadata, parse_int=float, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _is_minus_zero(value: float) -> bool:
    return value == 0 and math.copysign(1, value) < 0


def _kept(value: object) -> bool:
    if isinstance(value, float):
        if value.is_integer():
            return abs(value) <= SAFE and not _is_minus_zero(value)
        digits = _NO_DIGIT.sub("", repr(value)).lstrip("0")
        return abs(value) != float("inf") and len(digits) <= EXACT_DIGITS
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_kept(child) for child in children)
