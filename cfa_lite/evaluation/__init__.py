"""How well, and how fast, a fitted model inspects images."""
