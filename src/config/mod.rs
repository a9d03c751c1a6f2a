//! Settings: defaults, then `paperround.toml`, then the environment; checked at start.
