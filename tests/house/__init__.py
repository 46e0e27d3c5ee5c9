"""The rules of the house, each with a fixture that shows what it catches."""
