"""Steps on the CPU that touch what fired, and the matrix products they take where much did."""
