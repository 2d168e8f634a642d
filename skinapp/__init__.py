"""A research bench for skin-lesion image classifiers. Not a diagnostic device."""
