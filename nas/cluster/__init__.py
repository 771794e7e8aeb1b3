"""Searches on a Ray cluster that runs elsewhere: as jobs, and manifests to start such clusters with."""
