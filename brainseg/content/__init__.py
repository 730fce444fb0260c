"""What the files of a run hold, and reading them: damage is found here, and named."""
