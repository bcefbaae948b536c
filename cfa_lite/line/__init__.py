"""On the line: watching folders, and answering other programs."""
