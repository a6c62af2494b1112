"""A page in the browser on which a person labels photos with the model's help."""
