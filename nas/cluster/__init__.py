"""Searches on a Ray cluster that others started: sending them there and following them."""
