"""Images of people to masks for people."""
