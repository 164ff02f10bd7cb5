"""From other frameworks to :class:`neurofault.network.SpikingNetwork`."""
