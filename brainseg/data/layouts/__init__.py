"""How data sets lie on disk, and their files as cases."""
