"""The loaders, fed with what people and other programs could write: `make fuzz`, or `python -m tests.fuzz`.

corpus    the files of the repository, and the values that stand in them
nasty     values and texts that break loaders
mutate    documents made of both
payloads  znodes and lines of a history
templates texts with variables in them
running   what has to hold of rules that were accepted, and of records
targets   one check for each loader
harness   inputs within bounds of time and memory, and the smallest that fails
"""
