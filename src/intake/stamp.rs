//! The wall clock, and stamps that only rise.
