"""Search for feature-pyramid necks: the rooms between the search space, the necks, the controllers and the command."""
