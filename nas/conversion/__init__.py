"""State dicts of public detectors, made into ours."""
