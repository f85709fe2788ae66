"""The age of each settings value, and which values are due for rotation (`/backups/rotation/`). No value is shown.

A family of settings has an owner and `rotate_days` in the policy. `ages` works out since when a value is unchanged,
`announcements` tells the owners.
"""
