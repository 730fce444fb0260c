"""What the words of a report mean, for people."""

from brainseg import vocabulary
from brainseg.vocabulary import REFERENCE, REFERENCE_RUNTIME


def explain_terms() -> list[str]:
    """A line for the variants, for each mode and metric, and for the runtimes' precisions."""
    return [
        "none, ag, se, cbam: no attention; gates on the skips (arXiv:1804.03999); squeeze-and-"
        "excitation (arXiv:1709.01507); convolutional block attention (arXiv:1807.06521).",
        *(f"{mode.name}: {mode.sentence}" for mode in vocabulary.MODES.values()),
        "bf16: the runtime computes in 16 bits.",
        *(f"{metric.label}: {metric.sentence}." for metric in vocabulary.METRICS.values()),
        "Mean IoU of a network that finds nothing is about 0.5. HD95 of an empty prediction is the "
        "image's diagonal. ECE: expected calibration error.",
        "Budget: the loss of mean IoU on validation that a recommended mode may have, against "
        f"{REFERENCE} with {REFERENCE_RUNTIME}. With few patients its noise is as large.",
    ]
