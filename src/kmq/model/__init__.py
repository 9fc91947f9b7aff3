"""The things every part of kmq speaks about. Model imports nothing but what all share."""
