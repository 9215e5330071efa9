"""The airspeed velocity suite: a file a question. `asv --config benchmarks/asv.conf.json run` times it."""
