"""One healthy run of a graph, then only what each fault changes."""
