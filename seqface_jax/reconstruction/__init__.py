"""The reconstructed face: its texture, files, saved state and page."""
