"""Label sets (code, name, harmless or cancer, order) and what each diagnosis is, in plain words. Imports only
`skinapp.errors`, `files`, `formatting` and `tables`.
"""
