"""The commands: options only; the work lives elsewhere."""
