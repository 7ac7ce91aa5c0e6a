//! Simulated devices, a ledger of what they sent, and the means to check it.
