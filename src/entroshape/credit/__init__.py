"""The mathematics of credit assignment: pure functions from tensors to tensors that import only torch."""
