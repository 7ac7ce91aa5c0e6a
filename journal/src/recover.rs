//! Opening what an earlier run left.

use std::{io, sync::Arc};

use crate::Books;
use crate::catalog::Place;
use crate::disk::Disk;
use crate::open::Recovery;
use crate::options::Limits;
use crate::position::Position;

/// What the journal goes on from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) journal: [u8; 16],
    pub(crate) places: Vec<Place>,
    pub(crate) positions: Vec<Arc<Position>>,
    pub(crate) next_seq: u64,
    pub(crate) next_id: u64,
    pub(crate) books: Books,
    pub(crate) allocated: u64,
    pub(crate) report: Recovery,
}

pub(crate) fn recover(disk: &Arc<dyn Disk>, _limits: &Limits) -> io::Result<Found> {
    let mut journal = [0; 16];
    let (left, right) = journal.split_at_mut(8);
    left.copy_from_slice(&disk.entropy().to_le_bytes());
    right.copy_from_slice(&disk.entropy().to_le_bytes());
    Ok(Found {
        journal,
        places: Vec::new(),
        positions: Vec::new(),
        next_seq: 1,
        next_id: 1,
        books: Books::default(),
        allocated: 0,
        report: Recovery::default(),
    })
}
