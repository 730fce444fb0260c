"""On what is measured here, as `environment.json`: `python benchmarks/describe.py FILE`."""

import os
import sys
from pathlib import Path

import onnxruntime
import torch

from brainseg.environment import describe
from brainseg.files import write_json

write_json(
    Path(sys.argv[1]),
    describe()
    | {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cuda_starts": torch.cuda.is_available(),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
        "usable_cores": len(os.sched_getaffinity(0)),
    },
)
