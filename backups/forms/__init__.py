"""What the pages of copies and clean-up take from an address or a form, one module per feature."""
