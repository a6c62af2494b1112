"""From scores and targets to the tables of the literature."""
