"""The answer for one image, given a fitted model."""
