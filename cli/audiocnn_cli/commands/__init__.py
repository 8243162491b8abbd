"""The commands, each in its own module or package."""
