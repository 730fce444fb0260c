"""What is there in data sets, what is broken, and what stands twice."""
