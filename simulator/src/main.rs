//! `tidegate-sim`: devices, load, verification and a misbehaving database from the command line.

fn main() {}
