"""What several ways are made of: Adam, bars and cuts, vectors, threads, and the records of compiled epochs."""
