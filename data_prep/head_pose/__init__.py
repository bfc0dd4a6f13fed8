"""Learns the regressions of head pose that the package carries."""
