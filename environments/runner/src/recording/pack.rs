//! A finished recording becomes one file: the index, and the segments as they are.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
};

use a8s_wire::{
    ArtifactInfo,
    recording::{Gap, GapReason, Index, MEDIA_TYPE, Note, Segment, fbs_read},
};

use super::{
    Parts,
    reel::{JOURNAL, Whose, segment_name},
};

const BLOCK: u64 = 512;
/// The content of published recordings on the volume has at most this size together, the newest excepted: it is in the artifact store as
/// well, and the volume is there for the agent's work.
const KEPT: i64 = 256 << 20;

/// What became of a recording.
#[derive(Debug)]
pub struct Packed {
    /// Its turn.
    pub turn: i64,
    /// Hex SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: i64,
    /// Why it is not whole.
    pub cut: Option<GapReason>,
}

/// Packs what is in `folder` into the blob store; `None` if there is nothing worth keeping, or it is not ours. Blocking.
pub fn pack(parts: &Parts, folder: &Path) -> anyhow::Result<Option<Packed>> {
    let journal = std::fs::read_to_string(folder.join(JOURNAL))?;
    let mut lines = journal.lines();
    let whose: Whose = serde_json::from_str(lines.next().unwrap_or_default())?;
    if whose.workspace != parts.workspace || whose.epoch != parts.epoch {
        // It came with a Snapshot: that turn is told elsewhere.
        return Ok(None);
    }
    // The last line may be torn.
    let notes: Vec<Note> = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
    let (index, changed) = index(whose.turn, notes, |file| measure(&folder.join(file)))?;
    if !changed || index.segments.is_empty() {
        return Ok(None);
    }
    let cut =
        index.gaps.iter().map(|gap| gap.why).find(|why| matches!(why, GapReason::Limit | GapReason::Disk));
    let (sha256, size) = parts.blobs.take(&mut archive(&index, folder)?)?;
    Ok(Some(Packed { turn: whose.turn, sha256, size, cut }))
}

/// Hashes of recordings that are too many, given everything that was published, oldest first.
pub fn surplus(artifacts: &[ArtifactInfo]) -> Vec<String> {
    let mut kept = 0;
    let recordings = artifacts.iter().rev().filter(|info| info.media_type == MEDIA_TYPE).enumerate();
    let surplus = recordings.filter_map(|(age, info)| {
        kept += info.size;
        (age > 0 && kept > KEPT).then(|| info.sha256.clone())
    });
    surplus.collect()
}

/// The index, and whether anything has happened. `measure` gives the length of the whole records of a segment, and the time of the last.
fn index(
    turn: i64,
    notes: Vec<Note>,
    measure: impl Fn(&str) -> io::Result<(u64, u64)>,
) -> io::Result<(Index, bool)> {
    let mut index = Index { version: 1, turn, ..Index::default() };
    let mut changed = false;
    let mut begun = 0;
    let mut lengths = BTreeMap::new();
    for note in notes {
        match note {
            Note::Begin { start, width, height } => {
                if index.width == 0 {
                    (index.width, index.height) = (width, height);
                }
                let file = segment_name(begun);
                begun += 1;
                index.segments.push(Segment { file, start, millis: 0, bytes: 0 });
            }
            Note::End { millis, changes } => {
                changed |= changes > 0;
                lengths.insert(begun, millis);
            }
            Note::Action(action) => {
                changed = true;
                index.actions.push(action);
            }
            Note::Gap(gap) => index.gaps.push(gap),
        }
    }
    for (number, segment) in index.segments.iter_mut().enumerate() {
        let (bytes, last) = measure(&segment.file)?;
        segment.bytes = bytes;
        // A segment that was cut off ends with its last picture.
        changed |= !lengths.contains_key(&(number + 1));
        segment.millis = lengths.get(&(number + 1)).copied().unwrap_or(last);
    }
    index.segments.retain(|segment| segment.bytes > 0);
    index.gaps.sort_by(|a: &Gap, b: &Gap| a.from.cmp(&b.from));
    Ok((index, changed))
}

fn measure(file: &Path) -> io::Result<(u64, u64)> {
    let content = std::fs::read(file)?;
    let magic = a8s_wire::recording::FBS_MAGIC.len();
    let (mut at, mut last, mut records) = (magic, 0, 0);
    while let Some((_, millis, next)) = fbs_read(&content, at) {
        (at, last, records) = (next, millis.into(), records + 1);
    }
    // The handshake alone shows nothing.
    Ok(if records < 2 { (0, 0) } else { (at as u64, last) })
}

/// The archive as a stream.
fn archive(index: &Index, folder: &Path) -> anyhow::Result<Box<dyn Read>> {
    let json = serde_json::to_vec(index)?;
    let mut all = entry("index.json", json.len() as u64, Box::new(Cursor::new(json)))?;
    for segment in &index.segments {
        let content = File::open(folder.join(&segment.file))?.take(segment.bytes);
        all = Box::new(all.chain(entry(&segment.file, segment.bytes, Box::new(content))?));
    }
    Ok(Box::new(all.chain(io::repeat(0).take(2 * BLOCK))))
}

fn entry(name: &str, size: u64, content: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    // The same recording is the same file.
    header.set_mtime(0);
    header.set_cksum();
    let padding = size.next_multiple_of(BLOCK) - size;
    let head = Cursor::new(header.as_bytes().to_vec());
    Ok(Box::new(head.chain(content).chain(io::repeat(0).take(padding))))
}

#[cfg(test)]
mod tests {
    use a8s_wire::recording::{Action, Actor, FBS_MAGIC, fbs_record};

    use super::*;

    fn begin() -> Note {
        Note::Begin { start: "t".into(), width: 10, height: 20 }
    }

    #[test]
    fn a_recording_in_which_nothing_happened_is_none() {
        let size = |_: &str| Ok((100, 0));
        let still = vec![begin(), Note::End { millis: 5_000, changes: 0 }];
        assert!(!index(1, still.clone(), size).unwrap().1);
        let action = Action { at: "t".into(), who: Actor::Agent, what: "click 1,2".into() };
        let acted = still.into_iter().chain([Note::Action(action)]).collect();
        let (index, changed) = index(1, acted, size).unwrap();
        assert!(changed);
        assert_eq!((index.width, index.height, index.segments[0].millis), (10, 20, 5_000));
    }

    #[test]
    fn the_oldest_recordings_make_room_and_nothing_else_does() {
        let info = |sha256: &str, size, media_type: &str| ArtifactInfo {
            name: "n".into(),
            version: 1,
            title: "t".into(),
            file_name: "f".into(),
            media_type: media_type.into(),
            size,
            sha256: sha256.into(),
            turn: 1,
        };
        let all = [
            info("a", KEPT, MEDIA_TYPE),
            info("b", 9 * KEPT, "application/pdf"),
            info("c", KEPT / 2, MEDIA_TYPE),
            info("d", KEPT / 2, MEDIA_TYPE),
        ];
        assert_eq!(surplus(&all), ["a"]);
        assert_eq!(surplus(&all[..3]), ["a"]);
        assert!(surplus(&all[..2]).is_empty(), "the newest stays, however large it is");
    }

    #[test]
    fn a_segment_that_was_cut_off_ends_with_its_last_whole_picture() {
        let folder = tempfile::tempdir().unwrap();
        let whole = [FBS_MAGIC.to_vec(), fbs_record(b"greeting", 0), fbs_record(b"picture", 700)].concat();
        let torn = [whole.clone(), fbs_record(b"another picture", 900)[..9].to_vec()].concat();
        std::fs::write(folder.path().join("000.fbs"), torn).unwrap();
        std::fs::write(folder.path().join("001.fbs"), FBS_MAGIC).unwrap();
        let notes = vec![begin(), begin()];
        let (index, changed) = index(3, notes, |file| measure(&folder.path().join(file))).unwrap();
        assert!(changed, "nobody can say that nothing happened");
        let expected =
            Segment { file: "000.fbs".into(), start: "t".into(), millis: 700, bytes: whole.len() as u64 };
        assert_eq!(index.segments, [expected]);
        let mut bytes = Vec::new();
        archive(&index, folder.path()).unwrap().read_to_end(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((entry.path().unwrap().display().to_string(), content));
        }
        assert_eq!(found[0].0, "index.json");
        assert_eq!(serde_json::from_slice::<Index>(&found[0].1).unwrap(), index);
        assert_eq!(found[1..], [("000.fbs".to_owned(), whole)]);
    }
}
