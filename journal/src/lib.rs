//! The journal: append, sync, tickets and marks, leases and receipts, positions. Knows bytes and
//! counts, not readings.
//!
//! ```text
//!  Submission + Ticket --Appender--> queue --> writer thread: group -> pwrite -> fdatasync --Durable--> Mark moves
//!                                                   |                ^ prepared
//!                              segments <-----------+              keeper thread: seal, free, prepare
//!                                 |                                  ^ on disk
//!                                 +----------> Reader --> Lease + Receipt --confirm--> position
//! ```

mod layout;

mod books;
pub mod mark;
pub mod options;
pub mod submission;

pub mod disk;
mod frame;
mod note;
pub mod payload;
mod segment;

pub mod appender;
mod group;
mod log;
mod queue;
mod writer;

mod catalog;
mod desk;
mod giving_way;
mod keeper;
mod shared;
mod spare;
mod stats;

mod care;
pub mod clock;
mod fetch;
mod ledger;
mod position;
pub mod reader;
mod receipt;
mod restart;
mod scan;

pub mod dump;
pub mod forget;
pub mod offline;
pub mod open;
mod quarantine;
mod recover;
pub mod status;
mod survey;
pub mod verify;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

#[cfg(feature = "faults")]
pub mod fault;
pub mod testing;

pub use appender::{Appender, Closed, Room};
pub use books::Books;
pub use clock::{ClockBook, ClockError, Epoch, Epochs, Stamps};
pub use dump::{Dumped, dump};
pub use forget::ForgetError;
pub use mark::{Broken, Kept, Mark, Ticket};
pub use offline::{Offline, OfflinePosition};
pub use open::{Journal, OpenError, Recovery, open, open_with};
pub use options::{Options, OutputId, Start, WhenFull};
pub use payload::{Frame, Kind, PayloadError};
pub use position::PositionAlarm;
pub use reader::{Lease, Reader, Seq};
pub use receipt::{Fates, Receipt};
pub use restart::Checkpoint;
pub use shared::FullBecause;
pub use stats::{SYNC_BUCKETS_US, SyncStats};
pub use status::{PositionStatus, Status};
pub use submission::{
    Counts, Rejected, RejectedRef, SUBMISSION_BYTES_MAX, Source, Submission, SubmissionRef,
};
pub use verify::{Verified, verify};
