"""What the words of a report mean, for people."""

TERMS = (
    "none, ag, se, cbam: no attention; gates on the skips (arXiv:1804.03999); squeeze-and-"
    "excitation (arXiv:1709.01507); convolutional block attention (arXiv:1807.06521).",
    "fp32, fp16: the network as it was trained, stored in 32 or 16 bits. bf16: the runtime "
    "computes in 16 bits.",
    "int8_dynamic: weights in 8 bits, activations quantized as they come. int8_weights: weights "
    "stored in 8 bits, computed in float (the paper's Eq. 14-15). int8_static: weights and "
    "activations in 8 bits, scaled on validation images, so that its change on validation flatters "
    "it a little.",
    "Mean IoU: the mean of the IoU of background and of tumour, each over all pixels of the split "
    "(the paper's Table I); about 0.5 for a network that finds nothing. Tumour IoU: the latter "
    "alone.",
    "Dice: per image, mean over images with tumour. HD95: 95th percentile Hausdorff distance; "
    "where nothing is predicted, the image's diagonal. ECE: expected calibration error.",
    "A mode fits where its loss of mean IoU on validation is within the budget. That is a point "
    "estimate: with few patients its noise is as large as the paper's 0.0004.",
)
