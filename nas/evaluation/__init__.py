"""AP of saved detectors."""
