//! Configuration: text as typed, then what was meant.
