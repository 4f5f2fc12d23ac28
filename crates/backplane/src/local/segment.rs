//! Segment files: their header, their records, and how a run finds its place in them again.
//!
//! Owns: the bytes of a segment and the scan at start. Never does: threads, numbering. Talks to: [`Disk`].
//! Start reading at: [`recover`].

use std::sync::Arc;

use bytes::Bytes;
use protocol::Pos;

use super::{
    LocalError,
    disk::{Disk, DiskFile},
};
use crate::{Batch, codec};

const MAGIC: &[u8; 8] = b"WEBCHAT\0";
const VERSION: u32 = 1;
/// Bytes of a segment's header: magic 8, version u32, epoch u32, base_n u64, crc32c u32, zeros.
pub(super) const HEADER_BYTES: u64 = 64;
/// Bytes of a record before its blob: len u32, crc32c u32, epoch u32, zero u32, n u64, ts u64.
pub(super) const RECORD_BYTES: usize = 32;
/// A reader needs one place in this many records to start from.
const MARK_EVERY: u64 = 64;
/// Bytes of one read; no record is longer (256 KiB of bodies and 1,024 heads make less than 512 KiB).
pub(super) const READ_BYTES: usize = 1024 * 1024;

/// Where a record begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) n: u64,
    pub(super) offset: u64,
    pub(super) ts: u64,
}

/// One segment and where some of its records begin. The first record is always marked.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) base_n: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) marks: Vec<Mark>,
    /// Where the next record goes.
    pub(super) end: u64,
}

/// What the scan found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    /// Number of the last good batch; 0 = none.
    pub(super) last_n: u64,
}

pub(super) fn name_of(base_n: u64) -> String {
    format!("{base_n:016x}.log")
}

fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

pub(super) fn encode_header(epoch: u32, base_n: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0u8; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&epoch.to_le_bytes());
    header[16..24].copy_from_slice(&base_n.to_le_bytes());
    let crc = crc32c::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

fn header_is_good(header: &[u8], epoch: u32, base_n: u64) -> bool {
    header == encode_header(epoch, base_n)
}

/// Appends one record, padded to 8 bytes.
pub(super) fn encode_record(batch: &Batch, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&batch.pos.epoch.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&batch.pos.n.to_le_bytes());
    out.extend_from_slice(&batch.ts.to_le_bytes());
    codec::encode(&batch.events, out);
    let length = (out.len() - begin - RECORD_BYTES) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    let crc = record_crc(&out[begin..]);
    out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(begin + padded(out.len() - begin), 0);
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// Over the length and everything after the checksum itself.
fn record_crc(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

/// What stands at a place.
pub(super) enum Record {
    /// Zeros: the end.
    End,
    /// Longer than the bytes given.
    Partial,
    /// Not a record.
    Bad,
    /// A record of so many bytes.
    Good(Batch, usize),
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// Reads the record at the front of `bytes`. Bodies are slices of it.
pub(super) fn decode_record(bytes: &Bytes) -> Record {
    if bytes.len() < 4 || word(bytes, 0) == 0 {
        return Record::End;
    }
    let length = RECORD_BYTES + word(bytes, 0) as usize;
    if length > READ_BYTES {
        return Record::Bad;
    }
    if bytes.len() < length {
        return Record::Partial;
    }
    let record = bytes.slice(..length);
    if record_crc(&record) != word(&record, 4) {
        return Record::Bad;
    }
    let pos = Pos::new(word(&record, 8), long(&record, 16));
    let ts = long(&record, 24);
    match codec::decode(record.slice(RECORD_BYTES..)) {
        Ok(events) => Record::Good(Batch { pos, ts, events }, padded(length)),
        Err(codec::Malformed) => Record::Bad,
    }
}

impl Segment {
    pub(super) fn note(&mut self, n: u64, ts: u64, offset: u64) {
        if self.marks.last().is_none_or(|mark| n >= mark.n + MARK_EVERY) {
            self.marks.push(Mark { n, offset, ts });
        }
    }

    /// The last mark at or before `n`.
    pub(super) fn mark_before(&self, n: u64) -> Option<Mark> {
        let after = self.marks.partition_point(|mark| mark.n <= n);
        after.checked_sub(1).map(|i| self.marks[i])
    }
}

/// Scans all segments in order and hands each good batch to `replay`. The tail after the last good record is zeroed and
/// synced: it was never acknowledged. Errors: a bad record that good ones follow is corruption, and nothing is touched.
pub(super) fn recover(
    disk: &dyn Disk,
    epoch: u32,
    mut replay: impl FnMut(&Batch),
) -> Result<Recovered, LocalError> {
    let mut bases: Vec<u64> = disk.list()?.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    let mut segments: Vec<Segment> = Vec::new();
    let mut last_n = bases.first().map_or(0, |base| base - 1);
    for (i, base_n) in bases.iter().copied().enumerate() {
        let name = name_of(base_n);
        let file = disk.open(&name)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_at(&mut bytes, 0)?;
        let bytes = Bytes::from(bytes);
        let is_last = i + 1 == bases.len();
        let header = bytes.get(..HEADER_BYTES as usize).unwrap_or(&[]);
        if !header_is_good(header, epoch, base_n) || base_n != last_n + 1 {
            return Err(LocalError::Corrupt { segment: name, offset: 0 });
        }
        let mut segment = Segment { name, base_n, file, marks: Vec::new(), end: HEADER_BYTES };
        let bad = scan(&mut segment, &bytes, &mut last_n, &mut replay);
        // Zeros are the end only if nothing good stands behind them: a lost sector is zeros, too.
        if (bad && !is_last) || good_record_follows(&bytes, segment.end, last_n) {
            return Err(LocalError::Corrupt { segment: segment.name, offset: segment.end });
        }
        if is_last {
            zero_tail(&segment, &bytes)?;
        }
        segments.push(segment);
    }
    disk.sync_folder()?;
    Ok(Recovered { segments, last_n })
}

/// Reads records up to the end or the first bad one; tells whether it was a bad one.
fn scan(
    segment: &mut Segment,
    bytes: &Bytes,
    last_n: &mut u64,
    replay: &mut impl FnMut(&Batch),
) -> bool {
    loop {
        match decode_record(&bytes.slice((segment.end as usize).min(bytes.len())..)) {
            Record::Good(batch, length) if batch.pos.n == *last_n + 1 => {
                segment.note(batch.pos.n, batch.ts, segment.end);
                replay(&batch);
                *last_n = batch.pos.n;
                segment.end += length as u64;
            }
            Record::End => return false,
            Record::Good(..) | Record::Partial | Record::Bad => return true,
        }
    }
}

/// Whether a good record of a later batch stands anywhere behind a bad one: then the bad one was damaged, not torn.
fn good_record_follows(bytes: &Bytes, from: u64, last_n: u64) -> bool {
    let mut offset = from as usize + 8;
    while offset + RECORD_BYTES <= bytes.len() {
        if word(bytes, offset) != 0 {
            let at = bytes.slice(offset..bytes.len().min(offset + READ_BYTES));
            if matches!(decode_record(&at), Record::Good(batch, _) if batch.pos.n > last_n) {
                return true;
            }
        }
        offset += 8;
    }
    false
}

fn zero_tail(segment: &Segment, bytes: &Bytes) -> Result<(), LocalError> {
    let tail = &bytes[(segment.end as usize).min(bytes.len())..];
    let Some(last) = tail.iter().rposition(|byte| *byte != 0) else { return Ok(()) };
    segment.file.write_at(&vec![0; last + 1], segment.end)?;
    segment.file.sync_data()?;
    Ok(())
}
