"""Video models: the catalog, loading, and one adapter for each family; all follow `method.prior.Backend`."""
