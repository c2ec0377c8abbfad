// Gives every static library at least one object file, also while its folder is still empty.
