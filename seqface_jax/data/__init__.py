"""Records and drawn pictures to training batches."""
