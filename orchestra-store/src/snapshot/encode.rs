//! A snapshot as bytes, piece by piece.

use std::time::SystemTime;

use bytes::Bytes;
use futures::{Stream, stream};
use sha2::{Digest as _, Sha256};

use super::Snapshot;
use crate::durable::checkpoint::FRAME_BYTES;
use crate::durable::codec;
use crate::durable::frame::{self, Header, Kind};
use crate::store::{Entry, Result};

/// What is left to do.
enum Stage {
    Begin,
    Entries(Encoder),
    Done,
}

pub(super) fn encode(snapshot: Snapshot) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::try_unfold((snapshot, Stage::Begin), async |(mut snapshot, stage)| {
        let mut encoder = match stage {
            Stage::Begin => {
                let mut encoder = Encoder::begin(&snapshot);
                let bytes = encoder.ready();
                return Ok(Some((bytes, (snapshot, Stage::Entries(encoder)))));
            }
            Stage::Entries(encoder) => encoder,
            Stage::Done => return Ok(None),
        };
        while let Some(entries) = snapshot.next().await {
            entries?.iter().for_each(|entry| encoder.entry(entry));
            let bytes = encoder.ready();
            if !bytes.is_empty() {
                return Ok(Some((bytes, (snapshot, Stage::Entries(encoder)))));
            }
        }
        Ok(Some((encoder.finish(), (snapshot, Stage::Done))))
    })
}

/// Frames as they fill.
struct Encoder {
    salt: u32,
    payload: Vec<u8>,
    entries: u64,
    /// Whole frames that nobody has taken yet.
    ready: Vec<u8>,
    digest: Sha256,
}

impl Encoder {
    fn begin(snapshot: &Snapshot) -> Self {
        let header = Header::new(Kind::Snapshot, 0, snapshot.revision, snapshot.revision);
        let mut encoder = Self {
            salt: header.salt,
            payload: Vec::new(),
            entries: 0,
            ready: header.encode().to_vec(),
            digest: Sha256::new(),
        };
        let taken = snapshot.taken.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        codec::put_about(&mut encoder.payload, snapshot.keys(), u64::try_from(taken).unwrap_or(u64::MAX));
        encoder.seal();
        for lease in &snapshot.leases {
            codec::put_lease(&mut encoder.payload, lease);
            encoder.seal_if_full();
        }
        codec::put_leases(&mut encoder.payload, snapshot.leases.len() as u64, snapshot.last_lease);
        encoder.seal();
        encoder
    }

    fn seal_if_full(&mut self) {
        if self.payload.len() >= FRAME_BYTES {
            self.seal();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        codec::put_entry(&mut self.payload, entry);
        self.entries += 1;
        self.seal_if_full();
    }

    fn seal(&mut self) {
        self.ready.extend_from_slice(&frame::head(self.salt, &self.payload));
        self.ready.append(&mut self.payload);
    }

    fn ready(&mut self) -> Bytes {
        self.digest.update(&self.ready);
        std::mem::take(&mut self.ready).into()
    }

    fn finish(mut self) -> Bytes {
        if !self.payload.is_empty() {
            self.seal();
        }
        self.digest.update(&self.ready);
        codec::put_end(&mut self.payload, self.entries, 0);
        codec::put_digest(&mut self.payload, self.digest.clone().finalize().into());
        self.seal();
        self.ready.into()
    }
}
