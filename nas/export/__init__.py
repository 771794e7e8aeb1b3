"""Trained necks and detectors in formats that need nothing of this project."""
