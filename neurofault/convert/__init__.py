"""From other frameworks to :class:`neurofault.graph.Network`."""
