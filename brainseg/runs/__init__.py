"""What lies on the disk: a list of runs, and what of them can go."""
