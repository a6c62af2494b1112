"""From files on disk to one schema: an image, its id and its labels."""
