"""The page at the line: images wait for a decision, decisions are taught, and a taught model is accepted."""
