"""The method on arrays: whitening, neighbors, memory bank, loss, anomaly map, limits and regions."""
