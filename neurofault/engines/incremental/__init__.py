"""One healthy run of a chain, then only what each fault changes."""
