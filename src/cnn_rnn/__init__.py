"""Multi-label image classification as a path of labels."""
