"""The founding paper's figures on the chip: dead cores and dead neurons, repaired by what the hardware itself can learn, and by remap."""
