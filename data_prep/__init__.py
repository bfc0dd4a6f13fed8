"""Raw scans and photos to TFDS records; made-up raw trees; people with scans to score on."""
