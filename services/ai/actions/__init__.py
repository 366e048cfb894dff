"""What ai can do, one module per noun."""
