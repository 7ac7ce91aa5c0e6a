//! What is known about a payload before it is decoded.

use crate::{Precision, Timestamp};

/// Handed to every decoder. The route (rule, preset, default) or the endpoint fills it in.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Used where the payload names none.
    pub measurement: &'a str,
    /// Added to every reading: captures of the rule, `[tags]` of the config. They win over the
    /// payload's own; a `device` among them keeps a payload's `device` key from becoming the tag.
    pub tags: &'a [(&'a str, &'a str)],
    /// The name of the field that a plain value becomes (`value` unless a rule captured `{field}`).
    pub field: &'a str,
    /// The unit of numeric times: fixed by rule or query, `None` means by magnitude (JSON) or ns
    /// (line protocol).
    pub precision: Option<Precision>,
    /// When the payload came in: what an age counts back from.
    pub arrival: Timestamp,
    /// A reading without a `device` tag is refused (HTTP and WebSocket JSON).
    pub device_required: bool,
    /// Nesting allowed in JSON.
    pub depth_max: usize,
    /// Keys allowed in one JSON reading.
    pub keys_max: usize,
}

impl Context<'static> {
    /// Nothing routed it: no tags, the default names and limits.
    pub const fn bare(arrival: Timestamp) -> Self {
        Self {
            measurement: "readings",
            tags: &[],
            field: "value",
            precision: None,
            arrival,
            device_required: false,
            depth_max: 32,
            keys_max: 1024,
        }
    }
}
