"""Attention maps: the methods, one small file each, their catalogue, and measures of whether to believe a map. May
import `skinapp.inference` and what that may import. TensorFlow and PyTorch are loaded on first use.
"""
