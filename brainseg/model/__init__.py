"""Tensors to logits: encoder, attention, decoder, network."""
