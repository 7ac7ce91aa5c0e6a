//! Arguments, logging, config, start, wait, drain, exit code.

fn main() {}
