"""From rows to batches, and rows held out."""
