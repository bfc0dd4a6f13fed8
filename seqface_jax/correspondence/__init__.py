"""Training of the correspondence network on hard pictures."""
