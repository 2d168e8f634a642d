"""From the bytes of a file to a network's input: decoding, cropping, quality, artefacts, and computer-generated
lesions. May import `skinapp.labels` and everything that it may import.
"""
