"""A saved model as a server: photos over HTTP, what waits seen together, and a backend of Label Studio."""
