"""brainseg: which attention module and which quantization for brain tumour segmentation?"""

__version__ = "0.1.0"
