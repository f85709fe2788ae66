"""Settings backups kept in 1Password too (`/backups/vault/`), in the vault that `environments.toml` names.

`start` begins the work, by a click or by the schedule of the environment, and `run` does it in the worker, which alone
has the token. `run` also looks whether the Documents are still in the vault. `standing` tells which backups are not
kept in time, and `announcements` notifies of them. Nothing here removes a Document.
"""
