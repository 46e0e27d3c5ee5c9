"""The providers, each against what its vendor documents."""
