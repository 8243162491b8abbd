"""Building commands: options, help, terminal input and output."""
