"""Proxy task: the short training that scores a candidate."""
