"""Rows as they are written to a listing: what columns and cells mean."""
