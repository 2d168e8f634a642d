"""Attention maps: the catalogue of methods, one small file each, and how far a map can be trusted. May import
`skinapp.inference` and what it may import. TensorFlow and PyTorch are loaded on first use.
"""
