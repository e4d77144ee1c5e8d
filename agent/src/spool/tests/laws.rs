//! What holds for any damage and any order of events.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Files cut and bits flipped at random: opening never fails, what was not touched is delivered in order, what was is
    /// counted, and the spool goes on working.
    #[test]
    fn damage_costs_only_what_it_hits(
        sizes in prop::collection::vec(0_usize..300, 1..25),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..8), 0..5),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = SpoolOptions { segment_bytes: 700, sync: SyncPolicy::Never, ..SpoolOptions::new(dir.path()) };
        let mut spool = open(&options);
        for (index, &size) in sizes.iter().enumerate() {
            spool.append(&batch("b", index as u64 + 1, size), ONE);
        }
        drop(spool);
        let files = segments(dir.path());
        let before: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
        let mut after = before.clone();
        for (file, place, bit) in &flips {
            let bytes = &mut after[file.index(files.len())];
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some((file, place)) = &cut {
            let bytes = &mut after[file.index(files.len())];
            let length = place.index(bytes.len());
            bytes.truncate(length);
        }
        let mut expect = Vec::new();
        for ((path, before), after) in files.iter().zip(&before).zip(&after) {
            fs::write(path, after).unwrap();
            for found in record::scan(before).0 {
                let range = found.offset..found.offset + found.bytes;
                if after.get(range.clone()) == before.get(range.clone()) {
                    let body = record::body(&before[range]).unwrap();
                    expect.push(Batch::decode(body).unwrap().sequence);
                }
            }
        }
        let mut spool = open(&options);
        spool.append(&batch("b", 1000, 10), ONE);
        expect.push(1000);
        let damaged = expect.len() < sizes.len() + 1;
        prop_assert_eq!(sequences(&drain(&mut spool)), expect);
        let lost: u64 = spool.counters().losses().map(|(_, lost)| lost.bytes).sum();
        // A cut exactly between two records leaves nothing to see.
        prop_assert!(damaged || lost == 0 || !flips.is_empty());
    }

    /// Any order of appending, removing, restarting and lowered limits: what comes out is what went in, in order, but for
    /// what is counted as dropped.
    #[test]
    fn everything_is_delivered_or_counted(
        steps in prop::collection::vec((0_u8..10, 0_usize..400), 1..80), max_bytes in 1500_u64..6000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = SpoolOptions { max_bytes, max_batches: 12, sync: SyncPolicy::Never, ..SpoolOptions::new(dir.path()) };
        let mut spool = open(&options);
        let (mut appended, mut delivered, mut dropped) = (0, Vec::new(), 0);
        let count = |spool: &Spool| spool.counters().losses().map(|(_, lost)| lost.batches).sum::<u64>();
        for (step, size) in steps {
            match step {
                0 => {
                    dropped += count(&spool);
                    drop(spool);
                    spool = open(&options);
                }
                1..=3 => {
                    if let Some(next) = spool.next_pending(&BTreeSet::new()).unwrap() {
                        delivered.push(next.batch.sequence);
                        spool.remove(next.position, Removal::Acknowledged);
                    }
                }
                _ => {
                    appended += 1;
                    spool.append(&batch("b", appended, size), ONE);
                }
            }
            prop_assert!(spool.backlog().disk_bytes <= max_bytes);
            prop_assert!(spool.backlog().batches <= 12);
        }
        delivered.extend(sequences(&drain(&mut spool)));
        dropped += count(&spool);
        prop_assert!(delivered.is_sorted_by(|a, b| a < b), "{:?}", delivered);
        prop_assert_eq!(delivered.len() as u64 + dropped, appended);
    }
}
