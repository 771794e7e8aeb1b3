"""What the commands of `nas.cli` do; one module each, imported when the command is called."""
