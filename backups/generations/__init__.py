"""Backups of key families: made from KV, stored in R2, verified by reading them back.

`start` starts a backup or a verification. `freeze` lists the names and fixes them as rows, `kv_reader` reads their
values, `export` writes part after part and the manifest last. `verification` reads a backup back on a path that
shares no code with the export. `encryption` decides which backups are encrypted and holds the secrets that open them.
`reader` and `values` read values out of a backup, for a restore and for a person. `coverage` derives whether each
family can be restored, and `routine` starts the backups that families expect.
"""
