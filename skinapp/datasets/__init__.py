"""The public data sets: one registry of all, one parser for each publisher's metadata, and the ISIC archive. May import
`skinapp.labels` and what that may import.
"""
