"""Latency of runs, modes and runtimes, side by side in one session."""
