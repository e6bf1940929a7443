"""A run's report: one HTML page from the files that it leaves, which opens without a network."""
