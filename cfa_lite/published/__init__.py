"""The method as published, with its own estimator."""
