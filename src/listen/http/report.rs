//! What became of a request: what is answered, and what the journal keeps of it to give the same
//! answer once more.
//!
//! Kept as JSON, `[taken, refused, fields, [[index, field, reason], ...]]`, with as many reasons as
//! go into `KEPT_BYTES`: of a request that was refused in many ways, the second answer names fewer.

use bytes::Bytes;
use proto::Rejects;

/// Reasons that are kept, about.
const KEPT_BYTES: usize = 1024;

/// What became of a request that is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Readings taken.
    pub(super) taken: u64,
    /// Readings refused whole, listed or not.
    pub(super) refused: u64,
    /// Fields left out of readings that were taken, listed or not.
    pub(super) fields: u64,
    /// The first `Rejects::LISTED_MAX` of both.
    pub(super) listed: Vec<Refused>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which reading or line of the request, from 0.
    pub(super) index: u64,
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

impl Report {
    /// What was refused of a part of the request whose first reading (or line) has this index.
    pub(super) fn add(&mut self, rejects: &Rejects, index: u64) {
        self.refused += rejects.readings();
        self.fields += rejects.fields();
        let room = Rejects::LISTED_MAX.saturating_sub(self.listed.len());
        self.listed.extend(rejects.listed().iter().take(room).map(|reject| Refused {
            index: index + u64::from(reject.index),
            field: reject.field.clone(),
            reason: reject.reason.to_string(),
        }));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.refused == 0 && self.fields == 0
    }

    /// What was refused beyond what is listed.
    pub(super) fn unlisted(&self) -> u64 {
        (self.refused + self.fields).saturating_sub(self.listed.len() as u64)
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut left = KEPT_BYTES;
        let kept = self.listed.iter().take_while(|refused| {
            let bytes = refused.reason.len() + refused.field.as_ref().map_or(0, String::len);
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        let listed: Vec<_> = kept.map(|it| (it.index, &it.field, &it.reason)).collect();
        let all = (self.taken, self.refused, self.fields, listed);
        serde_json::to_vec(&all).unwrap_or_default().into()
    }

    /// What is no such text (a later release's) tells nothing.
    pub(super) fn decode(kept: &[u8]) -> Self {
        type Kept = (u64, u64, u64, Vec<(u64, Option<String>, String)>);
        let (taken, refused, fields, listed): Kept =
            serde_json::from_slice(kept).unwrap_or_default();
        let listed = listed
            .into_iter()
            .map(|(index, field, reason)| Refused { index, field, reason })
            .collect();
        Self { taken, refused, fields, listed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(index: u64, reason: String) -> Refused {
        Refused { index, field: index.is_multiple_of(2).then(|| "t".to_owned()), reason }
    }

    #[test]
    fn what_is_kept_gives_the_same_answer() {
        let listed = vec![refused(3, "no \"field\"".to_owned()), refused(4, String::new())];
        let report = Report { taken: 7, refused: 1, fields: 1, listed };
        assert_eq!(Report::decode(&report.encode()), report);
        assert_eq!(&Report { taken: 7, ..Report::default() }.encode()[..], b"[7,0,0,[]]");
        assert_eq!(Report::decode(b"?"), Report::default());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_counted() {
        let listed: Vec<_> = (0..100).map(|n| refused(n, "x".repeat(100))).collect();
        let report = Report { taken: 7, refused: 500, fields: 0, listed };
        let kept = report.encode();
        assert!(kept.len() < 2 * KEPT_BYTES, "{}", kept.len());
        let again = Report::decode(&kept);
        assert_eq!((again.taken, again.refused), (7, 500));
        assert_eq!(again.listed[..], report.listed[..again.listed.len()]);
        assert_eq!(again.unlisted() + again.listed.len() as u64, 500);
        assert!(again.listed.len() >= 5, "as many as `/write` names");
    }
}
