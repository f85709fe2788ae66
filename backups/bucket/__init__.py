"""The R2 bucket of an environment: reaching it, listing it, and watching its protection.

`access` opens the store of an environment and names its prefixes; `store` has the types of a store and `r2` is the
client. `reconcile` lists the bucket once a day and compares it with the backups, through the set-based SQL of
`listing`. `notes` keeps a person's explanation of an object. `protection` reads lock, lifecycle rules and public
access from Cloudflare; `lock_rules` decides their effect on a prefix. `newest_manifest` reads the newest manifest, in
which `kvops.rollback` notices a database that was restored to an older state. `deletion` has the one call that deletes
an object; only `retention.erasure` may import it.
"""
