"""The public data sets: one registry of what each is and where it lies, one parser of each publisher's metadata, and
the ISIC archive. May import `skinapp.labels` and what it may import.
"""
