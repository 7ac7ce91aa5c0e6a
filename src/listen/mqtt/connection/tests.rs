//! Connections over pipes.
