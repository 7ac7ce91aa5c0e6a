//! The end of a batch: dead letters are written and synced, then every share is confirmed, with each
//! input reading counted once.

use journal::Fates;

use super::amend::Lost;
use super::batch::{Batch, Origin, Refused, Share};
use super::dead::{self, Entry, Expired};
use super::epoch::Hold;
use super::{Output, lease::Receipt};
use crate::sink::Refusal;

/// Nothing of it was refused.
pub(super) fn settle_stored<R: Receipt>(batch: Batch<R>) {
    for Share { receipt, readings, .. } in batch.shares {
        confirm(receipt, &Fates { confirmed: readings, ..Fates::default() });
    }
    batch.holds.into_iter().for_each(Hold::settle);
}

/// Some of it goes to the dead letters. If they cannot be written it is dropped, and counted so.
pub(super) async fn settle<S, R: Receipt>(
    output: &Output<S>,
    batch: Batch<R>,
    guilty: Vec<(u32, Refusal)>,
    lost: Vec<Lost>,
) {
    let mut losses = vec![0; batch.shares.len()];
    let mut count = |origin: Origin| {
        if let Some(share) = losses.get_mut(origin.share as usize) {
            *share += 1;
        }
    };
    for (line, _) in &guilty {
        batch.origins.of(*line).for_each(&mut count);
    }
    let (fields, readings): (Vec<&Refused>, Vec<_>) =
        batch.refused.iter().partition(|refused| refused.field.is_some());
    for refused in readings {
        count(refused.origin);
    }
    output.stats.fields_dead.inc_by((fields.len() + lost.len()) as u64);

    let entries = entries(output, &batch, guilty, lost);
    let expired = |gone: Expired| _ = output.stats.dead_letters_expired.inc_by(gone.readings);
    let kept = dead::append_or_warn(output.dead.as_ref(), entries, expired).await;

    for (Share { receipt, readings, .. }, lost) in batch.shares.into_iter().zip(losses) {
        let (dead, dropped) = if kept { (lost, 0) } else { (0, lost) };
        let fates = Fates { confirmed: readings - lost, dead, dropped, ..Fates::default() };
        confirm(receipt, &fates);
    }
    batch.holds.into_iter().for_each(Hold::settle);
}

/// Points of windows are no input readings: what they came of is counted already.
fn confirm<R: Receipt>(receipt: Option<R>, fates: &Fates) {
    if let Some(receipt) = receipt {
        receipt.confirm(fates);
    }
}

fn entries<S, R>(
    output: &Output<S>,
    batch: &Batch<R>,
    guilty: Vec<(u32, Refusal)>,
    lost: Vec<Lost>,
) -> Vec<Entry> {
    let entry = |origin: Option<Origin>, refusal: &Refusal| {
        let share = origin.and_then(|origin| batch.shares.get(origin.share as usize));
        Entry {
            time: dead::rfc3339_now(),
            output: Some(output.id.to_string()),
            seq: share.map_or(0, |share| share.loan.seq.0),
            index: origin.map_or(0, |origin| origin.index),
            reason: refusal.fault.label().to_owned(),
            answer: refusal.text.to_string(),
            ..Entry::default()
        }
    };
    // As it came, whatever was amended on the way.
    let text = |line| String::from_utf8_lossy(batch.body.line(line).trim_ascii_end()).into_owned();
    let lines = guilty.into_iter().map(|(line, refusal)| Entry {
        readings: batch.origins.of(line).count() as u64,
        line: Some(text(line)),
        ..entry(batch.origins.of(line).next(), &refusal)
    });
    let lost = lost.into_iter().map(|Lost { line, field, refusal }| Entry {
        field: Some(field),
        line: Some(text(line)),
        ..entry(batch.origins.of(line).next(), &refusal)
    });
    let refused = batch.refused.iter().map(|refused| Entry {
        readings: u64::from(refused.field.is_none()),
        field: refused.field.clone(),
        line: Some(refused.line.clone()),
        ..entry(Some(refused.origin), &refused.refusal)
    });
    lines.chain(lost).chain(refused).collect()
}
