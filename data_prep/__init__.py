"""Raw scans and photos to TFDS records."""
