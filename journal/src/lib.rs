//! The journal: append, sync, tickets and marks, leases and receipts, positions. Knows bytes and
//! counts, not readings.
//!
//! ```text
//!  Submission + Ticket --Appender--> [writer thread: group -> pwrite -> fdatasync] --Durable--> Mark moves
//!                                                  |
//!                              segments <----------+----------> Reader --> Lease + Receipt --confirm--> position
//! ```

pub mod appender;
pub mod mark;
pub mod open;
pub mod options;
pub mod reader;
pub mod submission;

pub use appender::{Appender, Closed, Room};
pub use mark::{Broken, Kept, Mark, Ticket};
pub use open::{Journal, OpenError, Recovery, open};
pub use options::{Options, OutputId, Start, WhenFull};
pub use reader::{Fates, Frame, Kind, Lease, Reader, Receipt, Seq};
pub use submission::{Counts, Rejected, RejectedRef, Source, Submission, SubmissionRef};
