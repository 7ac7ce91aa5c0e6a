//! gzip, inflated as it comes in. Sans-io: compressed chunks are fed, plain bytes are taken, each at
//! most as many as the caller has room for; so a bomb costs its reader nothing but the count.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;

/// What the decoder owns, mostly its window; for whoever keeps account of memory.
pub(super) const STATE_BYTES: usize = 48 * 1024;

#[derive(Debug)]
pub(super) struct Inflater(MultiGzDecoder<Fed>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    Bytes(usize),
    /// Everything that was fed is used up.
    Hungry,
    End,
}

/// What was fed and not yet used.
#[derive(Debug, Default)]
struct Fed {
    chunk: Bytes,
    ended: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self(MultiGzDecoder::new(Fed::default()))
    }

    /// The next compressed chunk; only when `Hungry`, or before the first read.
    pub(super) fn feed(&mut self, chunk: Bytes) {
        self.0.get_mut().chunk = chunk;
    }

    pub(super) fn end(&mut self) {
        self.0.get_mut().ended = true;
    }

    /// Fails when the bytes are not gzip, do not match their checksum, or end early.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Inflated> {
        match self.0.read(into) {
            Ok(0) => Ok(Inflated::End),
            Ok(bytes) => Ok(Inflated::Bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Inflated::Hungry),
            Err(error) => Err(error),
        }
    }
}

impl Read for Fed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(into)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl BufRead for Fed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, bytes: usize) {
        self.chunk.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Feeds `chunks`, taking at most `room` bytes at a time.
    fn inflate(chunks: &[&[u8]], room: usize) -> io::Result<Vec<u8>> {
        let mut inflater = Inflater::new();
        let mut chunks = chunks.iter();
        let mut plain = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match inflater.read(&mut buffer)? {
                Inflated::Bytes(bytes) => plain.extend_from_slice(&buffer[..bytes]),
                Inflated::End => return Ok(plain),
                Inflated::Hungry => match chunks.next() {
                    Some(chunk) => inflater.feed(Bytes::copy_from_slice(chunk)),
                    None => inflater.end(),
                },
            }
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_bytes(
            plain in prop::collection::vec(prop::num::u8::ANY, 0..5000),
            chunk in 1_usize..100,
            room in 1_usize..100,
        ) {
            let stream = gzipped(&plain);
            let chunks: Vec<&[u8]> = stream.chunks(chunk).collect();
            prop_assert_eq!(inflate(&chunks, room).unwrap(), plain);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            drop(inflate(&[&bytes], 64));
        }
    }

    #[test]
    fn members_follow_one_another() {
        let stream = [gzipped(b"one "), gzipped(b"two")].concat();
        let chunks: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(inflate(&chunks, 3).unwrap(), b"one two");
    }

    #[test]
    fn an_early_end_a_flipped_bit_and_what_is_no_gzip_are_errors() {
        let stream = gzipped(b"climate,device=d1 t=21.5\n");
        for cut in 0..stream.len() {
            assert!(inflate(&[&stream[..cut]], 64).is_err(), "cut at {cut}");
        }
        let mut flipped = stream.clone();
        let last = flipped.len() - 8; // In the checksum.
        flipped[last] ^= 1;
        assert!(inflate(&[&flipped], 64).is_err());
        assert!(inflate(&[b"climate t=1\n"], 64).is_err());
        assert!(inflate(&[&stream, b"trailing text"], 64).is_err());
    }
}
