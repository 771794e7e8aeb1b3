"""Run directories at URLs: a local copy that is mirrored while a search runs."""
