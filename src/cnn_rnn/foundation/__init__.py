"""The ground floor: small files that several rooms need, and that need no other."""
