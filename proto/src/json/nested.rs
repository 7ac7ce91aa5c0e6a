//! One JSON object with its structure, for rules that look inside.

use super::scan::Scanner;
use crate::{
    fault::Fault,
    mapping::nested::{Content, Nested},
    scratch::Piece,
    tree::Scalar,
};

/// The object that starts here.
pub(super) fn read<'p>(scan: &mut Scanner<'p>, into: &mut Nested<'p>) -> Result<(), Fault> {
    into.clear();
    value(scan, Piece::Plain(""), into)
}

/// Recursion goes as deep as `Nested` allows.
fn value<'p>(scan: &mut Scanner<'p>, key: Piece<'p>, into: &mut Nested<'p>) -> Result<(), Fault> {
    let content = match scan.peek() {
        Some(open @ (b'{' | b'[')) => {
            into.open(key, open == b'{', scan.at)?;
            scan.at += 1;
            members(scan, open == b'{', into)?;
            into.close();
            return Ok(());
        }
        Some(b'"') => Content::Scalar(Scalar::Text(scan.string(&mut into.arena)?)),
        _ => Content::Scalar(scan.scalar()?),
    };
    into.add(key, content, scan.at)
}

fn members<'p>(
    scan: &mut Scanner<'p>,
    is_object: bool,
    into: &mut Nested<'p>,
) -> Result<(), Fault> {
    let close = if is_object { b'}' } else { b']' };
    scan.skip_space();
    if scan.take(close) {
        return Ok(());
    }
    loop {
        scan.skip_space();
        let key = if is_object { key(scan, into)? } else { Piece::Plain("") };
        value(scan, key, into)?;
        scan.skip_space();
        if scan.take(close) {
            return Ok(());
        }
        if !scan.take(b',') {
            let what = if is_object { "expected a comma or }" } else { "expected a comma or ]" };
            return scan.fault(what);
        }
    }
}

fn key<'p>(scan: &mut Scanner<'p>, into: &mut Nested<'p>) -> Result<Piece<'p>, Fault> {
    let key = scan.string(&mut into.arena)?;
    scan.skip_space();
    if !scan.take(b':') {
        return scan.fault("expected a colon");
    }
    scan.skip_space();
    Ok(key)
}
