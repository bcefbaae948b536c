"""Inspection and fitting in other processes, on this computer or on a Dask cluster."""
