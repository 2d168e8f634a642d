"""The lesion in an image: its segmentation, shape and colour. May import `skinapp.inference` and everything that it may
import."""
