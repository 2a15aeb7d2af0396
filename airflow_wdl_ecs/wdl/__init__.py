"""The only room that imports miniwdl: load, lower, evaluate, values, schema."""
