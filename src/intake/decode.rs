//! Payload to readings, whatever its format.
