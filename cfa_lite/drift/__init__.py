"""Since when a line has changed: scores, light, sharpness and position over time."""
