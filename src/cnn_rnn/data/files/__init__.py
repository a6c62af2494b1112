"""Files of any kind to rows as they are written."""
