"""Before conversion: what a model is made of, where that comes from, and what each runtime says."""
