"""Attention maps: the methods, one small file each, their catalogue, and measures of how far to trust a map. May import
`skinapp.inference` and everything that it may import. TensorFlow and PyTorch are loaded on first use.
"""
