"""What a training step is made of: losses, optimiser, devices, processes."""
