"""Settings that changed outside KVOps, such as with `wrangler kv key put`: a scan cannot see a changed value.

When an encrypted routine backup is verified, a run compares it with the verified backup before it (`search`). Both have
the keyed digests of all entries in Postgres, so no value is read. A difference that KVOps' own operations explain is
none (`own_operations`, `explained`). The others are kept by name, announced once and shown with the unexplained
deletions. A person explains them (`acknowledge`).

Digests are compared only under the same key. The first backup after a rotation is digested with the older key too
(`generations.encryption`). Without the older key the two backups are *not comparable*.

On demand, a run compares one key with the last backup (`one_key`).

A value that somebody else changed and changed back between two backups leaves no trace here. If KVOps wrote or deleted
the key in that time, the older content in the newer backup is a change outside KVOps.
"""
