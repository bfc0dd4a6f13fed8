"""Scans to a common frame, and to maps in it."""
