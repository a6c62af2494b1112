"""One HTML page that shows how a model does and opens offline."""
