"""One's own photos, in whatever layout they lie."""
