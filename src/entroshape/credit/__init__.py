"""The mathematics of credit assignment: pure functions, tensors in, tensors out, importing torch alone."""
