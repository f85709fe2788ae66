"""The commands about backups, and the parts they share.

Commands only prepare. `export_clinics --delete` opens a clean-up in the name of its shell user (`asked_by`), then
fixes the keys, backs up, verifies and checks in the foreground. A signed-in person submits it and becomes the
requester of the approval.

`run_to_end` works through a run in the foreground, `dump_command` is shared by the two exports of keys, and
`check_command` by the two checks against D1.
"""
