"""Data: image sets, their files, and where they are found."""
