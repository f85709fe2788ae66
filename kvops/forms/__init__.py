"""What the estate's pages take from an address or a form, one module per feature."""
