"""Whether networks with attention lose less when their weights are rounded to fewer bits."""

from collections.abc import Sequence

from brainseg.report.losses import PLAIN, Loss, Pair
from brainseg.report.render import Table
from brainseg.report.rows import NOTHING, signed
from brainseg.vocabulary import MAPPINGS, REFERENCE

COLUMNS = (
    *("Variant", "Weights", "Bits", "Change on val", "Change on test", "95 % interval"),
    *("Pixels that change sides", f"Less lost than {PLAIN}", "Joint interval"),
)

NOTE = (
    "Weights of all convolutions rounded to fewer bits (simulated: they are kept as float, and "
    f"activations are float). Change of mean IoU against {REFERENCE}, mean over the seeds, with a "
    "bootstrap interval over the test patients. Pixels that change sides: share of those of the "
    f"test split. Less lost than {PLAIN}: the difference of the two losses on the same test "
    "patients, positive where attention helps; its interval is joint for all in this table."
)


def tell_robustness(losses: Sequence[Loss]) -> list[str]:
    """A sentence that answers the question, where variants were compared; else nothing.

    Attention makes a network more robust where a variant with it loses less than `PLAIN` beyond
    the interval of the difference, and nowhere more.
    """
    compared = [loss for loss in losses if loss.gain is not None]
    if not compared:
        return []
    question = "Does attention make the network more robust to quantization, as the paper says?"
    if not any(loss.gain_interval for loss in compared):
        return [f"{question} It cannot be tested: too few test patients with a tumour are known."]
    told = []
    for mapping in dict.fromkeys(loss.mapping for loss in compared):
        members = [loss for loss in compared if loss.mapping == mapping]
        names = dict.fromkeys(loss.variant for loss in members)
        each = [_tell([loss for loss in members if loss.variant == name]) for name in names]
        told.append(f"With {MAPPINGS[mapping]}: {'; '.join(each)}")
    seeds = max(loss.seeds for loss in compared)
    luck = " With one training each, this may be luck." if seeds == 1 else ""
    return [
        f"{question} {_answer(compared)}. Weights rounded to {_bits(compared)} bits, loss of mean "
        f"IoU compared with that of {PLAIN} on the same test patients, intervals joint for "
        f"{len(compared)} comparisons: {'. '.join(told)}.{luck}"
    ]


def tabulate_robustness(losses: Sequence[Loss]) -> Table:
    """A row per variant, mapping and number of bits."""
    rows = [
        [
            *(loss.variant, MAPPINGS[loss.mapping], str(loss.bits)),
            *(_signed(loss.val), signed(loss.change), _interval(loss.interval)),
            f"{loss.flipped:.3%}",
            _signed(loss.gain),
            _interval(loss.gain_interval),
        ]
        for loss in sorted(losses, key=lambda loss: loss.variant != PLAIN)
    ]
    return Table("Loss by bits of the weights", COLUMNS, rows, [NOTE], COLUMNS[2:])


def _signed(change: float | None) -> str:
    return NOTHING if change is None else signed(change)


def _interval(interval: Pair | None) -> str:
    return " to ".join(map(signed, interval)) if interval else NOTHING


def _answer(compared: Sequence[Loss]) -> str:
    variants = {loss.variant for loss in compared}
    less = {loss.variant for loss in compared if loss.verdict > 0}
    more = {loss.variant for loss in compared if loss.verdict < 0}
    if not less and not more:
        return "Not that this test split could tell"
    if less and more:
        return "In part: some lose less, some more"
    if less:
        return "Yes" if less == variants else f"In part: {', '.join(sorted(less))}"
    return f"No: {'it is' if more == variants else ', '.join(sorted(more))} less robust"


def _tell(losses: Sequence[Loss]) -> str:
    """What one variant does, by bits."""
    parts = []
    for word, sign in (("less", 1), ("more", -1)):
        if found := [loss for loss in losses if loss.verdict == sign]:
            each = [f"{abs(loss.gain or 0):.4f} at {loss.bits}" for loss in found]
            parts.append(f"loses {word} ({', '.join(each)} bits)")
    return f"{losses[0].variant} {' and '.join(parts) or 'shows no difference'}"


def _bits(losses: Sequence[Loss]) -> str:
    return ", ".join(map(str, sorted({loss.bits for loss in losses}, reverse=True)))
