"""Fitting one product from images of good parts."""
