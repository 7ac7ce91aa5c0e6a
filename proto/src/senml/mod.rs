//! `SenML` in (RFC 8428): a pack of records, as JSON or as CBOR, its base values resolved.
//!
//! ```text
//! [{"bn":"urn:dev:ow:10e2073a0108006:","bt":1276020076.001,"bu":"A","n":"voltage","u":"V","v":120.1},
//!  {"n":"current","t":-5,"v":1.2}]
//! senml,device=urn:dev:ow:10e2073a0108006,unit=V voltage=120.1 1276020076001000000
//! senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.2 1276020071001000000
//! ```
//! A record is a reading: the base name is the device, the name its field (`value` where there is
//! none), the unit a tag. `docs/formats.md` has the whole of it.
//!
//! A bad record costs itself. One that cannot be read, or whose base values cannot be, costs all
//! that follow it: what they mean hangs on it.

mod record;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::{
    Context, Kind, Place, Readings, Reason, Rejects,
    cbor::Reader,
    fault::Fault,
    json::{flat::Flat, scan::Scanner},
    offer::Offers,
    tree::{
        Tree,
        binary::{Token, Tokens as _, Walk, more},
    },
};
use record::{Base, Labels};

/// JSON or CBOR: the first byte tells them apart.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let offers = Offers::new(context, out, bad);
    let tree = Tree::new(context, &offers.limits());
    let mut pack = Pack { base: Base::default(), offers, index: 0, len: payload.len() };
    let read = match payload.first() {
        Some(b'[' | b'{' | b' ' | b'\t' | b'\r' | b'\n' | 0xEF) => {
            let flat = Flat::new(payload, context, &pack.offers.limits());
            pack.of_json(flat)
        }
        _ => pack.of_cbor(Walk::new(Reader::new(payload), tree)),
    };
    if let Err((start, fault)) = read {
        pack.refuse_rest(start, fault.into());
    }
}

/// Whether the payload can be taken for a pack in JSON without being told: an array whose first
/// object has labels of `SenML` only, among them a base name, or a name and a value.
pub fn looks_like(payload: &[u8]) -> bool {
    first_labels(payload).unwrap_or(false)
}

fn first_labels(payload: &[u8]) -> Result<bool, Fault> {
    let (mut scan, mut arena) = (Scanner::new(payload), String::new());
    scan.skip_space();
    if !scan.is_array_of_objects() {
        return Ok(false);
    }
    scan.take(b'[');
    scan.skip_space();
    scan.take(b'{');
    let (mut base_name, mut name, mut value) = (false, false, false);
    loop {
        scan.skip_space();
        let key = scan.string(&mut arena)?;
        scan.skip_space();
        if !scan.take(b':') {
            return Ok(false);
        }
        scan.skip_space();
        let is_text = scan.peek() == Some(b'"');
        match key.get(&arena) {
            "bn" => base_name = is_text,
            "n" => name = is_text,
            "v" | "vs" | "vb" | "vd" | "s" => value = true,
            label if record::is_known(label) => {}
            _ => return Ok(false),
        }
        if is_text { scan.string(&mut arena).map(drop) } else { scan.scalar().map(drop) }?;
        scan.skip_space();
        if scan.take(b'}') {
            return Ok(base_name || (name && value));
        }
        if !scan.take(b',') {
            return Ok(false);
        }
    }
}

/// Where a record starts that could not be read, and why.
type Unread = (usize, Fault);

struct Pack<'o> {
    base: Base,
    offers: Offers<'o>,
    /// Of the next record.
    index: u32,
    /// Of the payload.
    len: usize,
}

impl Pack<'_> {
    fn of_json(&mut self, mut flat: Flat<'_>) -> Result<(), Unread> {
        flat.scan.skip_space();
        if !flat.scan.take(b'[') {
            return Err((flat.scan.at, not_a_pack(flat.scan.at)));
        }
        flat.scan.skip_space();
        let mut ended = flat.scan.take(b']');
        while !ended {
            flat.scan.skip_space();
            let start = flat.scan.at;
            let taken = match flat.scan.peek() {
                Some(b'{') => flat.outermost_object(false),
                _ => flat.scan.fault("expected a record"),
            };
            taken.map_err(|fault| (start, fault))?;
            if !self.record(&flat.tree, Labels::Texts, start..flat.scan.at) {
                return Ok(());
            }
            flat.scan.skip_space();
            ended = flat.scan.take(b']');
            if !ended && !flat.scan.take(b',') {
                let at = flat.scan.at;
                return flat.scan.fault("expected a comma or ]").map_err(|fault| (at, fault));
            }
        }
        flat.scan.skip_space();
        let at = flat.scan.at;
        if at == flat.scan.len() { Ok(()) } else { Err((at, after_the_pack(at))) }
    }

    fn of_cbor<'p>(&mut self, mut walk: Walk<'p, Reader<'p>>) -> Result<(), Unread> {
        let token = walk.tokens.token(&mut String::new()).map_err(|fault| (0, fault))?;
        let Token::Array(mut count) = token else { return Err((0, not_a_pack(0))) };
        while more(&mut walk.tokens, &mut count) {
            let start = walk.tokens.at();
            let read = match walk.tokens.token(&mut String::new()) {
                Ok(Token::Map(members)) => walk.outermost_map(members),
                Ok(_) => {
                    let what = "expected a record";
                    Err(Fault { at: start, kind: Kind::Undecodable, what })
                }
                Err(fault) => Err(fault),
            };
            read.map_err(|fault| (start, fault))?;
            if !self.record(&walk.tree, Labels::NumbersToo, start..walk.tokens.at()) {
                return Ok(());
            }
        }
        let at = walk.tokens.at();
        if walk.tokens.is_at_end() { Ok(()) } else { Err((at, after_the_pack(at))) }
    }

    /// False if what follows cannot be resolved, and was refused.
    fn record(&mut self, tree: &Tree<'_>, labels: Labels, span: Range<usize>) -> bool {
        let start = span.start;
        let place = Place { index: self.index, span };
        self.index = self.index.saturating_add(1);
        match self.base.update(tree, labels) {
            Ok(()) => {
                self.base.offer(tree, labels, place, &mut self.offers);
                true
            }
            Err(reason) => {
                self.index = place.index;
                self.refuse_rest(start, reason);
                false
            }
        }
    }

    fn refuse_rest(&mut self, start: usize, reason: Reason) {
        let start = start.min(self.len);
        self.offers.refuse(Place { index: self.index, span: start..self.len }, reason);
    }
}

fn not_a_pack(at: usize) -> Fault {
    Fault { at, kind: Kind::Undecodable, what: "a SenML pack is an array of records" }
}

fn after_the_pack(at: usize) -> Fault {
    Fault { at, kind: Kind::Undecodable, what: "something follows the pack" }
}
