"""What others published, made again with the package and put to the test, each paper in a folder of its own."""
