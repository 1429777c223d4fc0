"""Tests: `python3 -m unittest discover -t . generate` in the folder above `generate`."""
