"""Attention maps: the catalogue of methods, one small file each, the faithfulness of a map, and its sanity checks. May
import `skinapp.inference` and what it may import. TensorFlow and PyTorch are loaded on first use.
"""
