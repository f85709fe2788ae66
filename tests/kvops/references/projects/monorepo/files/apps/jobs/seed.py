"""Fills the namespace of the sandbox."""

KEYS = ["master:clinic:1", "system-root"]
