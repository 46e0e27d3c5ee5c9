"""What answers say of their usage, in each form that providers write it."""
