"""`neurofault profiles`: the chips that come with neurofault."""

from __future__ import annotations


def profiles() -> None:
    """List the bundled hardware profiles."""
    from neurofault.deploy.profile import bundled_profiles, load_profile

    for name in bundled_profiles():
        print(f"{name:12s} {load_profile(name).title}")
