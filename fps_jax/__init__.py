"""FedPruneShare in JAX: pruning and secret sharing for federated learning."""
