"""Writes the database of prototypes; README.md tells how."""
