"""Master data and clinic records: the exports that the policy asks for.

A backup of masters is a generation whose entries were read from D1 (`rows`) or from the team's API (`api`) instead of
from KV. Each row becomes the key that its dataset names, with its columns as the value, members sorted. So parts,
digests, verification, checks and retention are those of every other backup, and the same rows give the same bytes.

It holds no state of KV: it covers no family, the page of a key does not name it, and nothing is restored into KV from
it. It holds the columns that its datasets name and no others. It is checked against D1 table by table. `RESTORE.md`
loads the rows that D1 lacks, and nothing else. `clinics` exports clinic records like any prefix.
"""
