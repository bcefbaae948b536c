"""Outputs of a run: tables, maps, masks, overlays and the report page."""
