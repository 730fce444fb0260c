"""An exported file opened on a device, and what runs where."""
