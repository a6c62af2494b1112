"""The official layouts of the published data sets."""
