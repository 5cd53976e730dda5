"""The built-in models, sources, probes, analyzers and reporters."""
