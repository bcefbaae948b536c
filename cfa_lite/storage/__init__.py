"""The ``.cfa`` file."""
