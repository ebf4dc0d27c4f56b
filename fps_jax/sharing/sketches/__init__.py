"""Short linear views of shares: sketches, products, range checks."""
