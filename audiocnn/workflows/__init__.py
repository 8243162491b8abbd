"""What the commands do, for programs: `train` and `evaluate` from the data to the result, without a terminal."""
