"""The fake of 1Password's SDK, as the package that the sandbox's worker imports."""
