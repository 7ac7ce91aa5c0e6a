//! Pure steps between journal and batch: select, dedup, deadband, window come with their issue.
