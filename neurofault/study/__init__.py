"""Many trials and what they say: preparation, calibration, lesions, statistics."""
