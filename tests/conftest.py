"""Settings for every test."""

import os

# Two test processes with two threads each wait for one another on two cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
