"""Moving neurons from dead cores to spare ones."""
