"""The commands of this app, and `apply_command`, the shared part of those that apply a definition."""
