"""The modes of a run, those that need a fine-tuning among them."""

from collections.abc import Sequence

from brainseg.deploy.options import Chosen, check_chosen
from brainseg.deploy.stages import prepare
from brainseg.run import Run
from brainseg.terminal import spent
from brainseg.vocabulary import MODES, QAT_MODE


def prepare_modes(run: Run, modes: Sequence[str], chosen: Chosen | None = None) -> list[str]:
    """As `deploy.stages.prepare`; where `int8_qat` is among the modes, it is fine-tuned before.

    What needs no training comes first, so that it exists even if the training images are gone.
    """
    if QAT_MODE not in modes:
        return prepare(run, modes, chosen)
    chosen = chosen or {}
    check_chosen(chosen, modes)
    others = [mode for mode in modes if not MODES[mode].trained]
    done = prepare(run, others, {mode: chosen[mode] for mode in chosen if mode in others})
    from brainseg.deploy.qat import choose_tuning  # torch and Lightning take seconds
    from brainseg.training.qat import fine_tune

    options = choose_tuning(run, chosen)
    with spent("fine-tuning"):
        done += fine_tune(run, options)
    return done + prepare(run, [QAT_MODE], {QAT_MODE: options})
