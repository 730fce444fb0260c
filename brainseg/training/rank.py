"""The process of a rank other than 0, see `ranks`: `python -m brainseg.training.rank`.

Its order is a line of JSON on standard input. It ends when that is closed, so that it never
outlives the process which gave it.
"""

import json
import os
import signal
import sys
from pathlib import Path
from threading import Thread

from brainseg.data.load import divide, load_data
from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.training.fit import make_network, quiet_lightning, train
from brainseg.training.ranks import READY, Rank


def main() -> None:
    """Load the data, and take part in the training."""
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nobody reads a pipe that a network of one's own prints to, and it would fill
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches rank 0, which ends this process
    quiet_lightning()  # rank 0 has said it all
    order = json.loads(sys.stdin.readline())
    Thread(target=_end_with_input, daemon=True).start()
    config, run, rank = order["config"], Run(Path(order["run"])), Rank(**order["rank"])
    table, slices = load_data(config["data"], config["split"]["seed"])
    parts = divide(table, slices, config["split"], config["data"]["duplicates"], lambda leaks: None)
    network = make_network(config)
    with ready:
        ready.write(READY)
    train(config, run, network, slices, parts, rank)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        # First said, then ended: once the pipe of `main` is closed, rank 0 kills this process.
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
