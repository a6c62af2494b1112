"""Learning a person's own labels while they label: from the first photo on, on frozen features, in milliseconds."""
