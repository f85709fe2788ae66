"""Backups in R2, and the writes to KV that backups make safe.

One package per feature, each with its domain modules, forms and views; README.md has the map. Only `execution`,
`deletion` and `restores` may import the calls that change KV, and only `retention.erasure` the call that deletes an
object.
"""
