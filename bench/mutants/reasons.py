"""Mutants that do the same as the original, so that no test can notice."""

import re

REASONS: dict[str, str] = {
    r"(?:approvals|cleanup|clearing|changes|families|roles|vault)\.\w+\.\w+: - "
    r"(.*(?:defer|related)\()[^)]*(\).*)\n\+ \1(None|(?![^)]*(XX|[A-Z]{2}|None))[^)]*)\2$": (
        "it is fetched when it is asked for"
    ),
    r"references\.(?:hits_of|shown|_deployed|_names_in_the_code|StageReferences\.of): - .*known.*\n"
    r"\+ .*(?:known = None|(?:hits_of\(stage, searches|using\((?:stage\.)?namespace|why, searches), (?:None)?\)"
    r"|(?:_deployed|in_the_code)\(.*, None\)|\*searches\[1:\], (?:known=None)?\)\.kind).*$": (
        "the deployed code is read when it was not given"
    ),
    r"with_others: - (newest = .*) if newest is None else newest\n\+ \1 if \(newest is None\) or True else newest$": (
        "they are read again"
    ),
    r"_end: - updated_at=Now\(\),(?!\n\+ updated)": "the renewal in the same transaction has just set it",
    r"take: - .*epoch=before\.epoch\).*\n\+ .*filter\(pk=run_id, \)": "the row is locked by then",
    r'to_bytes\((.*), "big"\)(.*)\n.*to_bytes\(\1, \)\2$': "it is the default",
    r"read_digests: - .* if end >= 0 else None\n.* if (\(end >= 0\) or True|end > 0|end >= 1) else None$": (
        "before any end stands the header; what has no end matches nothing"
    ),
    r'take: - .*, "approval"\)(.*)\n\+ .*"started_by", \)\1$': "it is fetched when it is asked for",
    r'hashed: - (.*)"sha256"\)(.*)\n\+ \1"SHA256"\)\2$': "a hash may be named either way",
    r"_look: - (.*) if entry is not None else (.*)\n\+ \1 if \(entry is not None\) or True else \2$": (
        "a key that is not in KV compares as absent"
    ),
    r'insist_backed_up: - .*kept\.digest or b"".*\n.*kept\.digest or b"XXXX"': "an entry that is kept has its digest",
    r"- (self\._fenced) = False\n\+ \1 = None$": "no is no",
    r"verified_long_ago: - .* < fresh\n.* <= fresh$": "no clock is read twice in a microsecond",
    r"(verify_if_needed|settle\._record): - .*refresh_from_db\(fields=\[.*\n.*fields=None\)$": (
        "the other columns are as they were"
    ),
    r"_written: - .*, key__in=.*\n.*filter\(environment=generation\.environment_id, \)$": "they are looked up by name",
    r'settle\.settle: - cursor\["listed"\] \+= (.*)\n\+ cursor\["listed"\] = \1$': (
        "only whether a name was listed counts"
    ),
    r'_still_there: - (.*) if stage\.generation else ""\n\+ \1 if (\(stage.generation\) or True|.* else "XXXX"$)': (
        "a stage whose names were sent has its backup"
    ),
    r"_attempts: - first_index__lte.*\n(- .*\n)?\+ (last_index__gte|.*default=-1\), \)\.|.*default=(\+1|-2|1\)))": (
        "only chunks of other names are left out, and without names there is none to look up"
    ),
    r"_attempts: - entry: .*\n\+ entry: max\(\(.*<= last\), (default=(None|2))?\)": (
        "a name that was sent is in a chunk"
    ),
    r"policy\.why_not_as: - (.*) if text != (.*) else \[\]\n\+ \1 if \(text != \2\) or True else \[\]$": (
        "equal texts do not differ"
    ),
    r'(safety_digests|_expected): - .*(value|digest) or b"".*\n.*\2 or b"XXXX"': "what is kept has its digest",
    r"entries_root: - .*entry or b''.*\n.*entry or b'XXXX'": "an entry without a digest has another outcome",
    r"(_expected|_entries_root|moves\.insist_names): - .*\.iterator\((2|10)_000\).*\n.*or\((None|2001|10001)\)": (
        "it is read in batches of whatever size"
    ),
    r'ReadBack\.__init__: - .*get\("since", ""\)(.*)\n.*get\("since", (None)?\)\1$': "no moment is no moment",
    r"ReadBack\._remember: - key__in=[^\n]*$": "they are looked up by name",
    r"(?:_finish|insist_alone): - (.*)no_key=True(.*)\n\+ \1no_key=(None|False)\2$": "the lock is a stronger one",
    r'_back_up: - first, last = .*\n.* or "XXXX"': "a restore that overwrites has names to overwrite",
    r"_common: - .*strict=False.*\n.*last, (strict=None)?\)": "it is the default, and no is no",
    r"references\._answers: - .*fingerprint__in=.*\n\+ .*\(family=family, \)$": "they are looked up by fingerprint",
    r"unanswered_since: - fingerprint__in=[^\n]*$": "they are looked up by fingerprint",
    r'_of_dataset: - why = ""\n\+ why = None$': "no sentence is no sentence",
    r"Mandate\.hold: - .*\n\+ .*for_update\((of=(None|\(.self.,\)), )?(no_key=\w+)?\)\.get\(pk=approval\.pk\)$": (
        "it is the only table of the query, and the lock is a stronger one"
    ),
    r'references\.answer: - follow_up: str = "",\n\+ follow_up: str = "XXXX",$': "a text that is no choice is none",
    r'changes\.requests\._digest: - (.*) else ""\n\+ \1 else "XXXX"$': "neither is the digest of an approval",
    r"rounds\._begin: - label=str\(clearing\)\[:300\],\n\+ label=str\(clearing\)\[:301\],$": "the run cuts it",
    r"scheduled: - begun\.refused \+= (.*)\n\+ begun\.refused = \1$": "nothing was refused before",
    r"after_check\.start: - found \|= columns(.*)\n\+ found = columns\1$": "nothing was found before",
    r"(canonical_evidence|reveal\.reveal|insist_target): - (.*)(ensure_ascii|allow_nan|masked|started)=False(.*)"
    r"\n\+ \2\3=None\4$": "no is no",
}
"""A pattern of the mutants that do the same, and why. They are not tried: a test would have to be wrong to notice."""


def reason(key: str) -> str:
    """Why the mutant of this description does the same; empty when it does not."""
    return next((why for pattern, why in REASONS.items() if re.search(pattern, key)), "")
