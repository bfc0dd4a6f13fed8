"""The reconstructed face: its texture, its files, tables, pictures and pages, saved states."""
