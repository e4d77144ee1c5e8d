use std::fs::{self, OpenOptions};
use std::path::Path;

use super::*;

mod full_disk;
mod laws;

fn batch(boot: &str, sequence: u64, size: usize) -> Batch {
    Batch {
        node: "node".into(),
        boot: boot.into(),
        sequence,
        created_us: 1,
        payload_zstd: vec![sequence as u8; size],
    }
}

const ONE: Contents = Contents { calls: 3, deltas: 2 };

fn open(options: &SpoolOptions) -> Spool {
    Spool::open(options.clone()).unwrap()
}

/// Takes and acknowledges everything, in order.
fn drain(spool: &mut Spool) -> Vec<(String, u64)> {
    let mut drained = Vec::new();
    while let Some(pending) = spool.next_pending(&BTreeSet::new()).unwrap() {
        assert!(spool.remove(pending.position, Removal::Acknowledged));
        drained.push((pending.batch.boot, pending.batch.sequence));
    }
    assert_eq!(spool.backlog().batches, 0);
    assert_eq!(spool.backlog().bytes, 0);
    drained
}

fn sequences(drained: &[(String, u64)]) -> Vec<u64> {
    drained.iter().map(|(_, sequence)| *sequence).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .collect();
    files.sort();
    files
}

#[test]
fn first_in_first_out_with_its_content_and_skipping() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&SpoolOptions::new(dir.path()));
    for sequence in 1..=3 {
        spool.append(&batch("b", sequence, 10), ONE);
    }
    let first = spool.next_pending(&BTreeSet::new()).unwrap().unwrap();
    assert_eq!(first.batch, batch("b", 1, 10));
    let second = spool
        .next_pending(&BTreeSet::from([first.position]))
        .unwrap()
        .unwrap();
    assert_eq!(second.batch.sequence, 2);
    assert!(spool.remove(second.position, Removal::Acknowledged));
    assert!(!spool.remove(second.position, Removal::Acknowledged));
    assert_eq!(sequences(&drain(&mut spool)), [1, 3]);
    assert_eq!(spool.counters().acknowledged, 3);
}

#[test]
fn earlier_runs_come_first_under_their_own_identity() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(dir.path());
    for boot in ["first", "second"] {
        let mut spool = open(&options);
        spool.append(&batch(boot, 1, 10), ONE);
        spool.append(&batch(boot, 2, 10), ONE);
    }
    let mut spool = open(&options);
    assert_eq!(spool.counters().recovered, 4);
    spool.append(&batch("third", 1, 10), ONE);
    let expect = [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
        ("third", 1),
    ];
    assert_eq!(
        drain(&mut spool),
        expect.map(|(boot, sequence)| (boot.to_owned(), sequence))
    );
}

#[test]
fn what_was_delivered_is_not_found_again_and_its_files_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        segment_bytes: 200,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    for sequence in 1..=20 {
        spool.append(&batch("b", sequence, 50), ONE);
    }
    assert!(segments(dir.path()).len() > 5);
    for _ in 0..13 {
        let next = spool.next_pending(&BTreeSet::new()).unwrap().unwrap();
        spool.remove(next.position, Removal::Acknowledged);
    }
    drop(spool);
    let mut spool = open(&options);
    assert_eq!(sequences(&drain(&mut spool)), (14..=20).collect::<Vec<_>>());
    drop(spool);
    let mut spool = open(&options);
    assert_eq!(segments(dir.path()), Vec::<PathBuf>::new());
    spool.append(&batch("c", 1, 50), ONE);
    drop(spool);
    assert_eq!(
        sequences(&drain(&mut open(&options))),
        [1],
        "numbers of segments go on after the last delivered one"
    );
}

#[test]
fn without_the_remembered_place_delivered_batches_come_again_and_none_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(dir.path());
    let mut spool = open(&options);
    for sequence in 1..=5 {
        spool.append(&batch("b", sequence, 50), ONE);
    }
    let next = spool.next_pending(&BTreeSet::new()).unwrap().unwrap();
    spool.remove(next.position, Removal::Acknowledged);
    drop(spool);
    for damage in [
        "",
        "0 0 0",
        "9999999999999999999999 0 0",
        "2 5 deadbeef",
        "\u{0}\u{1}",
    ] {
        fs::write(dir.path().join("done"), damage).unwrap();
        let mut spool = open(&options);
        assert_eq!(spool.backlog().batches, 5, "{damage:?}");
        assert_eq!(
            spool
                .next_pending(&BTreeSet::new())
                .unwrap()
                .unwrap()
                .batch
                .sequence,
            1
        );
    }
}

#[test]
fn full_by_bytes_drops_the_oldest_segment_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        max_bytes: 4000,
        segment_bytes: 1000,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    for sequence in 1..=100 {
        spool.append(&batch("b", sequence, 100), ONE);
        let on_disk: u64 = segments(dir.path())
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(on_disk <= 4000, "{on_disk}");
        assert_eq!(on_disk, spool.backlog().disk_bytes);
    }
    let lost = spool.counters().lost(DropReason::SpoolFull);
    let left = sequences(&drain(&mut spool));
    assert_eq!(
        left,
        (lost.batches + 1..=100).collect::<Vec<_>>(),
        "the newest are left, in order"
    );
    assert!(left.len() >= 18, "{left:?}");
    assert_eq!((lost.calls, lost.deltas), (lost.batches * 3, lost.batches * 2));
}

#[test]
fn full_by_batches_drops_the_oldest_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SpoolOptions {
        max_batches: 5,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    for sequence in 1..=5 {
        spool.append(&batch("b", sequence, 10), ONE);
    }
    assert_eq!(
        spool.counters().lost(DropReason::SpoolFull).batches,
        0,
        "at the limit"
    );
    spool.append(&batch("b", 6, 10), ONE);
    assert_eq!(spool.counters().lost(DropReason::SpoolFull).batches, 1);
    drop(spool);
    options.max_batches = 2;
    let mut spool = open(&options);
    assert_eq!(
        spool.counters().lost(DropReason::SpoolFull).batches,
        3,
        "a limit that was lowered"
    );
    assert_eq!(sequences(&drain(&mut spool)), [5, 6]);
}

#[test]
fn a_batch_that_can_never_fit_is_dropped_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        max_bytes: 1000,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    spool.append(&batch("b", 1, 10), ONE);
    spool.append(&batch("b", 2, 1000), ONE);
    assert_eq!(spool.counters().lost(DropReason::TooLarge).batches, 1);
    assert_eq!(sequences(&drain(&mut spool)), [1]);
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&SpoolOptions::new(dir.path()));
    let error = Spool::open(SpoolOptions::new(dir.path())).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }));
    let text = error.to_string();
    assert!(
        text.contains("another agent") && text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    drop(first);
    open(&SpoolOptions::new(dir.path()));
}

#[test]
fn a_directory_that_cannot_be_made_means_memory_until_it_can() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("spool");
    fs::write(&dir, "in the way").unwrap();
    let mut options = SpoolOptions::new(&dir);
    options.memory_bytes = 1000;
    let mut spool = open(&options);
    let text = spool.trouble().unwrap().to_string();
    assert!(
        text.contains("cannot create") && text.contains("remove it, or set another"),
        "{text}"
    );
    for sequence in 1..=20 {
        spool.append(&batch("b", sequence, 100), ONE);
    }
    let backlog = spool.backlog();
    assert!(
        backlog.bytes <= 1000 && backlog.in_memory == backlog.batches && backlog.disk_bytes == 0,
        "{backlog:?}"
    );
    let lost = spool.counters().lost(DropReason::MemoryFull);
    assert_eq!(
        (lost.batches + backlog.batches as u64, lost.calls),
        (20, lost.batches * 3)
    );
    assert_eq!(
        spool
            .next_pending(&BTreeSet::new())
            .unwrap()
            .unwrap()
            .batch
            .sequence,
        lost.batches + 1
    );

    fs::remove_file(&dir).unwrap();
    spool.append(&batch("b", 21, 100), ONE);
    assert!(spool.trouble().is_none());
    assert_eq!(spool.backlog().in_memory, 0);
    drop(spool);
    assert_eq!(
        sequences(&drain(&mut open(&options))),
        (lost.batches + 1..=21).collect::<Vec<_>>()
    );
}

/// What an earlier run left turns up when the directory becomes usable, and still goes first.
#[test]
fn a_spool_that_appears_late_is_read() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, aside) = (parent.path().join("spool"), parent.path().join("aside"));
    let options = SpoolOptions::new(&dir);
    open(&options).append(&batch("old", 1, 10), ONE);
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "in the way").unwrap();
    let mut spool = open(&options);
    spool.append(&batch("new", 1, 10), ONE);
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    spool.append(&batch("new", 2, 10), ONE);
    let expect = [("old", 1), ("new", 1), ("new", 2)];
    assert_eq!(
        drain(&mut spool),
        expect.map(|(boot, sequence)| (boot.to_owned(), sequence))
    );
}

#[test]
fn a_directory_that_is_removed_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        segment_bytes: 1,
        ..SpoolOptions::new(parent.path().join("spool"))
    };
    let mut spool = open(&options);
    spool.append(&batch("b", 1, 10), ONE);
    fs::remove_dir_all(&options.dir).unwrap();
    spool.append(&batch("b", 2, 10), ONE);
    assert!(spool.trouble().is_none());
    assert_eq!(sequences(&drain(&mut spool)), [2]);
    assert_eq!(spool.counters().lost(DropReason::Corrupt).batches, 1);
}

#[test]
fn damage_after_opening_is_counted_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        segment_bytes: 1,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    for sequence in 1..=4 {
        spool.append(&batch("b", sequence, 100), ONE);
    }
    let files = segments(dir.path());
    fs::remove_file(&files[0]).unwrap();
    let mut bytes = fs::read(&files[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[1], bytes).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&files[2])
        .unwrap()
        .set_len(20)
        .unwrap();
    assert_eq!(sequences(&drain(&mut spool)), [4]);
    let lost = spool.counters().lost(DropReason::Corrupt);
    assert_eq!((lost.batches, lost.calls), (3, 9));
}

#[test]
fn a_record_that_is_intact_and_no_batch_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(dir.path());
    let mut file = record::encode(&[0xff; 40], ONE).unwrap();
    file.extend(record::encode(&batch("b", 1, 5).encode_to_vec(), ONE).unwrap());
    fs::write(dir.path().join(format!("{:016x}.spool", 7)), file).unwrap();
    for name in [
        "x.spool",
        "ffffffffffffffff.spool",
        "00000000000000001.spool",
        "notes.txt",
    ] {
        fs::write(dir.path().join(name), "not ours").unwrap();
    }
    let mut spool = open(&options);
    assert_eq!(sequences(&drain(&mut spool)), [1]);
    assert_eq!(spool.counters().lost(DropReason::Corrupt).calls, 3);
    assert!(dir.path().join("notes.txt").exists());
}
