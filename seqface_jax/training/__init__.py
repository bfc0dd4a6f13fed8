"""Training: losses, optimiser, devices, processes; of the correspondence network, on pictures."""
