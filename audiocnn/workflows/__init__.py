"""The work of the commands, for use in programs: `train` and `evaluate`, from data to result, without a terminal."""
