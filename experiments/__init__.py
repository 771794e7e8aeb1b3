"""Chosen runs: functions that return a search's configuration."""
