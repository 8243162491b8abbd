"""What is where: segments and annotations, the rule that makes segments of scores, and the finder that applies it."""
