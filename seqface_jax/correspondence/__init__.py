"""Training of the correspondence network on hard pictures, and its use on photos."""
