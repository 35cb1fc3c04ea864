"""One module for each command: its flags and what it runs, which is imported only when the command is called."""
