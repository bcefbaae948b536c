"""Learning from known defects: what makes them different from good images, and how much that counts."""
