"""Files of labels: the formats, conversion between them, what belongs to a recording, and cutting at segments."""
