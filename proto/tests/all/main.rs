//! Whole-crate questions, in one binary: do the fuzz corpora hold, does another codec agree about
//! the frame's bytes, do the encoders for devices and the page that explains them.

mod corpus;
mod device_encoders;
mod frame_md;
mod samples;
mod wincode;
