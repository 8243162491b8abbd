"""How a command is made, takes options, and speaks to a terminal."""
