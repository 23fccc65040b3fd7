"""The course in a notebook: `%load_ext vitcourse` gives `%%exercise`, `%hint`, `%trace`, `%train` and the others."""
