"""From names to files, from files to pixels."""
