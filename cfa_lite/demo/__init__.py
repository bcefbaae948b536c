"""Images of woven cloth drawn by code, to try fitting and inspecting without any data."""

from .folder import DemoSummary, make_demo

__all__ = ["DemoSummary", "make_demo"]
