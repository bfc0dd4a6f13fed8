"""Records to training batches."""
