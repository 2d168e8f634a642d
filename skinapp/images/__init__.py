"""From the bytes of a file to a network's input: decoding, cropping, quality, hair, and lesions drawn by code. May
import `skinapp.labels` and what it may import.
"""
