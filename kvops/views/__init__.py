"""The estate's pages, one module per feature."""
