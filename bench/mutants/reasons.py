"""Mutants that do the same as the original, so that no test can notice."""

import re

ONE_BY_ONE = "the same rows, read one by one instead of in one query"
REASONS: dict[str, str] = {
    r'- (.*select_related\(.*?)"\w+"(?:, )?(.*)\n\+ \1\2$': ONE_BY_ONE,
    r"- (.*)select_related\([^()]*\)(.*)\n\+ \1select_related\(None\)\2$": ONE_BY_ONE,
    r"still_valid: - if fresh.state != .*\n\+ .* and fresh\.(starter|approver) is None": (
        "by constraint a used request has an approver and a starter, and one that is not used has no starter"
    ),
    r"- (.*\.iterator\().*\n\+ \1": "how many rows are fetched at a time",
    r'insist_names: - found = ""\n': "it equals no digest either",
    r"_lay_still: .* > timing.CHECK_PAUSE\n.* >= timing": "a pause is never as long to the microsecond",
    r"checkpoint\(None, \*\*progress\):\n.*checkpoint\(\*\*progress\):$": "it is the default",
    r'entry\.digest or b"XXXX"': "by constraint an entry that was kept has its digest",
    r"smaller=False\)\n.*smaller=None\)": "no is no",
    r"- (.*) = False\n\+ \1 = None$": "no is no",
    r"_end: - updated_at=Now\(\),(?!\n\+ updated)": "the renewal in the same transaction has just set it",
    r"take: - .*epoch=before\.epoch\).*\n\+ .*filter\(pk=run_id, \)": "the row is locked by then",
    r'to_bytes\((.*), "big"\)(.*)\n.*to_bytes\(\1, \)\2$': "it is the default",
    r"read_digests: - .* if end >= 0 else None\n.* if (\(end >= 0\) or True|end > 0|end >= 1) else None$": (
        "before any end stands the header; what has no end matches nothing"
    ),
    r"canonical: - (.*)(ensure_ascii|allow_nan)=False(.*)\n\+ \1\2=None\3$": "no is no",
    r"_recorded: - .*\[:2\]\)\n.*\[:3\]\)": "two entries are one too many, and so are three",
}
"""A pattern of the mutants that do the same, and why. They are not tried: a test would have to be wrong to notice."""


def reason(key: str) -> str:
    """Why the mutant of this description does the same; empty when it does not."""
    return next((why for pattern, why in REASONS.items() if re.search(pattern, key)), "")
