//! Where and why a payload is not what its format says, or too much of it.

use crate::{Kind, Reason};

#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    pub(crate) what: &'static str,
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, format!("byte {}: {}", fault.at, fault.what))
    }
}
