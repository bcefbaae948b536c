"""From an image file or an array to feature maps."""
