"""Changes of single settings keys: value, metadata and expiration of a key, or a new key, under four eyes.

`propose` reads the key, writes the proposal and starts a backup of the old value. The proposal is one age object under
`proposals/<environment>/` with the old and the new entry (`proposal`). It is encrypted to the recipients of backups and
to the review key, whose identity only the web server has (`review_key`). R2 does not lock that prefix, and a lifecycle
rule deletes its objects within 30 days even while KVOps is down. Without such a rule nothing is proposed.

`requests` submits the change, and another person approves. The evidence names the object and the SHA-256 of its
ciphertext. The reviewer sees the paths that change (`differences`), and the values on a reveal with a reason. `run`
writes only if KV still holds the old entry, then reads back. `reverse` prepares the reverse change, a change with an
approval of its own. `erase` deletes the proposal once the change is over.

In production a change names the accepted change of the same key in an earlier environment (`qa`), or gives a reason
that the reviewer accepts as a risk by name.
"""
