"""`python -m brainseg.deploy.quantize_litert FILE TARGET`: dynamic range quantization of LiteRT.

As TensorFlow Lite's, which the paper used: weights in 8 bits, a scale per output channel;
activations are quantized anew in every pass.
"""

import sys


def _quantize(source: str, target: str) -> None:
    from ai_edge_quantizer import quantizer, recipe  # an optional extra that takes seconds

    work = quantizer.Quantizer(source)
    work.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    work.quantize().export_model(target, overwrite=True)


if __name__ == "__main__":
    _quantize(sys.argv[1], sys.argv[2])
