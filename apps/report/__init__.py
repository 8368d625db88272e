"""A run's page: one HTML file that needs nothing else, with all that a run's folder holds."""
