"""Label sets (code, name, harmless or cancer, order) and a description of each diagnosis in plain language. Imports
only `skinapp.errors`, `files`, `formatting` and `tables`.
"""
