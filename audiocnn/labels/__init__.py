"""Label files: formats, conversion, lookup of the labels of a recording, and splitting recordings at segments."""
