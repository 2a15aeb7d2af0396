"""The only room that imports miniwdl: load, lower, evaluate, values, schema."""

from .grammars import keep_parsers

# Here, so that it holds for whatever in this room is the first to parse.
keep_parsers()
