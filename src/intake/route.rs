//! Topic to rule.
