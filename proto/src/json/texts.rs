//! A document's texts and where they lie, for who wants a few of them and no reading.
//!
//! Strict, unlike the reader of readings: a document that is broken anywhere, or more than one, is a
//! fault, and who was told of texts before has to forget them. Leaves out numbers, words, and what lies
//! in arrays: they are checked and passed over.

use std::borrow::Cow;

use super::scan::Scanner;
use crate::{Kind, Reason, fault::Fault, scratch::Piece, tree::DEPTH_MAX};

/// Tells every text of the one object in `payload`, in its order, with the keys that lead to it. Keeps
/// nothing but those keys, at most as many as objects may be nested: 128.
pub fn texts<'p>(
    payload: &'p [u8],
    tell: impl FnMut(&[Cow<'p, str>], Cow<'p, str>),
) -> Result<(), Reason> {
    let mut walk = Walk {
        scan: Scanner::new(payload),
        keys: Vec::new(),
        arrays: 0,
        arena: String::new(),
        tell,
    };
    Ok(walk.document()?)
}

struct Walk<'p, T> {
    scan: Scanner<'p>,
    /// Of the objects around, outermost first.
    keys: Vec<Cow<'p, str>>,
    /// Arrays around.
    arrays: usize,
    /// Where an escaped text is put together.
    arena: String,
    tell: T,
}

impl<'p, T: FnMut(&[Cow<'p, str>], Cow<'p, str>)> Walk<'p, T> {
    fn document(&mut self) -> Result<(), Fault> {
        self.scan.skip_space();
        if self.scan.peek() != Some(b'{') {
            return self.scan.fault("expected an object");
        }
        self.value(0)?;
        self.scan.skip_space();
        match self.scan.peek() {
            None => Ok(()),
            Some(_) => self.scan.fault("expected the end"),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.scan.peek() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => {
                let what = "nested more deeply than is allowed";
                Err(Fault { at: self.scan.at, kind: Kind::Limit, what })
            }
            Some(b'{') => self.members(b'}', depth + 1),
            Some(b'[') => {
                self.arrays += 1;
                self.members(b']', depth + 1)?;
                self.arrays -= 1;
                Ok(())
            }
            Some(b'"') => {
                let text = self.string()?;
                if self.arrays == 0 {
                    (self.tell)(&self.keys, text);
                }
                Ok(())
            }
            _ => self.scan.scalar().map(|_| ()),
        }
    }

    fn members(&mut self, close: u8, depth: usize) -> Result<(), Fault> {
        self.scan.at += 1;
        self.scan.skip_space();
        if self.scan.take(close) {
            return Ok(());
        }
        loop {
            self.scan.skip_space();
            if close == b'}' {
                self.member(depth)?;
            } else {
                self.value(depth)?;
            }
            self.scan.skip_space();
            if self.scan.take(close) {
                return Ok(());
            }
            if !self.scan.take(b',') {
                return self.scan.fault("expected a comma or the end of what is open");
            }
        }
    }

    fn member(&mut self, depth: usize) -> Result<(), Fault> {
        let key = self.string()?;
        self.scan.skip_space();
        if !self.scan.take(b':') {
            return self.scan.fault("expected a colon");
        }
        self.scan.skip_space();
        self.keys.push(key);
        self.value(depth)?;
        self.keys.pop();
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'p, str>, Fault> {
        self.arena.clear();
        Ok(match self.scan.string(&mut self.arena)? {
            Piece::Plain(text) => Cow::Borrowed(text),
            made @ Piece::Made(_) => Cow::Owned(made.get(&self.arena).to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(payload: &[u8]) -> Result<Vec<String>, Reason> {
        let mut told = Vec::new();
        let tell = |keys: &[Cow<'_, str>], text: Cow<'_, str>| {
            told.push(format!("{}={text}", keys.join("/")));
        };
        texts(payload, tell).map(|()| told)
    }

    /// The same by another parser's tree; its objects are sorted, so ours must be too.
    fn expected(value: &serde_json::Value, path: &str, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => into.push(format!("{path}={text}")),
            serde_json::Value::Object(members) => {
                for (key, value) in members {
                    let slash = if path.is_empty() { "" } else { "/" };
                    expected(value, &format!("{path}{slash}{key}"), into);
                }
            }
            _ => {}
        }
    }

    const WHOLE: &str = r#" {"a":"b","c":{"d":"\u00e4\n","e":[{"f":"no"},"no"],"g":{"h":"i"}},"n":-1.5e3,"t":true,"z":null} "#;

    #[test]
    fn texts_come_with_their_keys_and_nothing_else_does() {
        let told = told(WHOLE.as_bytes()).unwrap();
        assert_eq!(told, ["a=b", "c/d=ä\n", "c/g/h=i"]);
        let mut same = Vec::new();
        expected(&serde_json::from_str(WHOLE).unwrap(), "", &mut same);
        assert_eq!(told, same);
    }

    #[test]
    fn what_is_no_single_whole_object_is_a_fault() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        told(deep(DEPTH_MAX).as_bytes()).unwrap();
        let many = [deep(DEPTH_MAX + 1), "{\"a\":".repeat(100_000), "[".repeat(100_000)];
        let few = ["", "[]", "\"a\"", "{} {}", "{\"a\"}", "{\"a\":\"b\",}", "{a:1}", "online"];
        for broken in many.iter().map(String::as_str).chain(few) {
            assert!(told(broken.as_bytes()).is_err(), "{broken:.40}");
        }
        assert!(told(b"{\"a\":\"\xFF\"}").is_err());
    }

    /// Cut and flipped documents are faults exactly where another parser finds them so.
    #[test]
    fn broken_documents_are_what_another_parser_takes_for_broken() {
        // The last byte stays: as a zero it would not be looked at.
        for at in 1..WHOLE.len() - 1 {
            for flip in [0_u8, 0x01, 0x04, 0x20, 0x80] {
                let mut bytes = WHOLE.as_bytes().to_vec();
                match flip {
                    0 => bytes.truncate(at),
                    _ => bytes[at] ^= flip,
                }
                let other = serde_json::from_slice::<serde_json::Value>(&bytes);
                let other = other.ok().filter(serde_json::Value::is_object);
                let ours = told(&bytes);
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(ours.is_ok(), other.is_some(), "{text}: {ours:?}");
            }
        }
    }
}
