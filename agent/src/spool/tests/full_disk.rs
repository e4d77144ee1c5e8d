//! Real file systems that are full or read-only.

use std::process::Command;

use super::*;

/// A file system of its own, in a mount namespace of this thread's own. `None`, with the reason printed, where the user may
/// not make one.
fn small_file_system(dir: &Path, bytes: usize) -> Option<()> {
    if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS) {
        eprintln!("skipped: a mount namespace needs privileges ({error})");
        return None;
    }
    mount(&["--make-rprivate", "/"])?;
    mount(&[
        "-t",
        "tmpfs",
        "-o",
        &format!("size={bytes}"),
        "tmpfs",
        dir.to_str()?,
    ])
}

fn mount(arguments: &[&str]) -> Option<()> {
    let output = Command::new("mount").args(arguments).output().ok()?;
    if !output.status.success() {
        eprintln!(
            "skipped: mount {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return None;
    }
    Some(())
}

#[test]
fn a_full_disk_means_memory_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    if small_file_system(dir.path(), 256 << 10).is_none() {
        return;
    }
    let options = SpoolOptions {
        memory_bytes: 64 << 10,
        ..SpoolOptions::new(dir.path())
    };
    let mut spool = open(&options);
    let mut sequence = 0;
    let mut append = |spool: &mut Spool| {
        sequence += 1;
        spool.append(&batch("b", sequence, 5000), ONE);
        sequence
    };
    while spool.trouble().is_none() {
        assert!(append(&mut spool) < 100, "the disk must be full by then");
    }
    let text = spool.trouble().unwrap().to_string();
    assert!(
        text.contains("No space left") && text.contains("free space"),
        "{text}"
    );
    for _ in 0..3 {
        append(&mut spool);
    }
    assert!(spool.backlog().in_memory >= 3);
    assert_eq!(
        spool
            .counters()
            .losses()
            .map(|(_, lost)| lost.batches)
            .sum::<u64>(),
        0
    );

    mount(&["-o", "remount,size=1m", dir.path().to_str().unwrap()]).unwrap();
    let last = append(&mut spool);
    assert!(spool.trouble().is_none());
    assert_eq!(spool.backlog().in_memory, 0);
    drop(spool);
    let mut spool = open(&options);
    assert_eq!(sequences(&drain(&mut spool)), (1..=last).collect::<Vec<_>>());
    assert_eq!(
        spool
            .counters()
            .losses()
            .map(|(_, lost)| lost.batches)
            .sum::<u64>(),
        0,
        "no torn record was left"
    );
}

#[test]
fn a_read_only_disk_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    if small_file_system(dir.path(), 256 << 10).is_none() {
        return;
    }
    mount(&["-o", "remount,ro", dir.path().to_str().unwrap()]).unwrap();
    let mut spool = open(&SpoolOptions::new(dir.path()));
    let text = spool.trouble().unwrap().to_string();
    assert!(text.contains("mount it writable"), "{text}");
    spool.append(&batch("b", 1, 10), ONE);
    mount(&["-o", "remount,rw", dir.path().to_str().unwrap()]).unwrap();
    spool.append(&batch("b", 2, 10), ONE);
    assert!(spool.trouble().is_none());
    assert_eq!(sequences(&drain(&mut spool)), [1, 2]);
}
