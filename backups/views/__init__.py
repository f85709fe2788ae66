"""The pages of copies and clean-up, one module per feature."""
