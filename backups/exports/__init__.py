"""Backups outside the bucket: plain files for wrangler, and Documents in 1Password.

`plain_files` writes files as `wrangler kv bulk put` takes them. Each is recorded with host, path and SHA-256, and
stays a to-do until `kept` records its encrypted place. Settings, unclassified keys and families with `encrypt = true`
are never written to a plain file. `onepassword` keeps a small encrypted backup in a vault; `onepassword_store` gives
a vault the methods of a bucket.
"""
