"""Claude on the clouds: each takes nearly the Messages API, at its own address, under its own authority."""
