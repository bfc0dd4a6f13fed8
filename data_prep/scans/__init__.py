"""Scans: reading and cleaning them."""
