"""When and whether: one flow a file, each also a verb of the command line."""
