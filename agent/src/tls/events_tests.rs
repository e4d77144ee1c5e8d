use std::process::{Command, Stdio};

use super::*;
use crate::clock::monotonic_ns;

fn record(kind: perf_event_type, misc: u16, body: &[u8], time_ns: u64) -> Vec<u8> {
    let mut bytes = (kind as u32).to_le_bytes().to_vec();
    bytes.extend(misc.to_le_bytes());
    bytes.extend(u16::try_from(body.len() + 16).unwrap().to_le_bytes());
    bytes.extend(body);
    bytes.extend(time_ns.to_le_bytes());
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn mapped(name: &[u8]) -> Vec<u8> {
    // pid, tid; start, length, offset; major, minor; inode, generation; protection, flags.
    let mut body = words(&[7, 8, 0x1000, 0, 0x2000, 0, 0, 0, 0xfe, 1, 42, 0, 5, 0, 5, 2]);
    body.extend(name);
    body.resize(body.len().next_multiple_of(8), 0);
    record(perf_event_type::PERF_RECORD_MMAP2, 0, &body, 99)
}

#[test]
fn records() {
    let name = b"/a b\nc (deleted)";
    let bytes = mapped(name);
    let (event, time_ns) = parse(&bytes).unwrap();
    let file = FileKey {
        device: Device {
            major: 0xfe,
            minor: 1,
        },
        inode: 42,
    };
    let expected = Mapped {
        pid: 7,
        start: 0x1000,
        end: 0x3000,
        file,
        generation: 5,
        name,
    };
    assert_eq!((event, time_ns), (Event::Mapped(expected), 99));
    let tasks = words(&[7, 3, 7, 3, 0, 0]);
    for (kind, misc, body, expected) in [
        (
            perf_event_type::PERF_RECORD_FORK,
            0,
            tasks.clone(),
            Some(Event::Fork { pid: 7, parent: 3 }),
        ),
        // A thread is no process.
        (
            perf_event_type::PERF_RECORD_FORK,
            0,
            words(&[7, 7, 8, 7, 0, 0]),
            None,
        ),
        (
            perf_event_type::PERF_RECORD_EXIT,
            0,
            tasks,
            Some(Event::Exit { pid: 7, thread: 7 }),
        ),
        (
            perf_event_type::PERF_RECORD_COMM,
            MISC_COMM_EXEC,
            words(&[7, 8, 0, 0]),
            Some(Event::Exec { pid: 7 }),
        ),
        // Only a name.
        (perf_event_type::PERF_RECORD_COMM, 0, words(&[7, 8, 0, 0]), None),
        (
            perf_event_type::PERF_RECORD_LOST,
            0,
            words(&[1, 0, 12, 0]),
            Some(Event::Lost { records: 12 }),
        ),
        (perf_event_type::PERF_RECORD_THROTTLE, 0, words(&[0; 6]), None),
    ] {
        let bytes = record(kind, misc, &body, 5);
        assert_eq!(parse(&bytes), expected.map(|event| (event, 5)), "{kind:?}");
    }
}

#[test]
fn what_is_cut_is_none() {
    let whole = mapped(b"");
    assert!(parse(&whole).is_some());
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_none(), "{length}");
    }
    // Of no file.
    let mut anonymous = mapped(b"//anon");
    anonymous[48..56].fill(0);
    assert!(parse(&anonymous).is_none());
    // Beyond all addresses.
    let mut beyond = mapped(b"");
    beyond[24..32].fill(0xff);
    assert!(parse(&beyond).is_none());
}

#[test]
fn ranges_of_processors() {
    for (text, numbers) in [
        ("0", Some(vec![0])),
        ("0-3", Some(vec![0, 1, 2, 3])),
        ("0-1,4,6-7", Some(vec![0, 1, 4, 6, 7])),
        ("", None),
        ("0-", None),
        ("a", None),
    ] {
        assert_eq!(parse_ranges(text), numbers, "{text}");
    }
    assert_eq!(parse_ranges("0-4294967295").map(|all| all.len()), Some(CPUS_MAX));
}

/// Everything about these processes until one of them ends, in order. The others of this machine are left out.
fn seen_until_exit(events: &mut Events, of: impl Fn(u32) -> bool, last: u32) -> Vec<(u32, String)> {
    let mut seen = Vec::new();
    let mut ended = false;
    while !ended {
        events.drain(monotonic_ns().saturating_sub(SETTLED_NS), |event| {
            let (pid, what) = match event {
                Event::Mapped(mapped) => (
                    mapped.pid,
                    format!("mapped {}", String::from_utf8_lossy(mapped.name)),
                ),
                Event::Fork { pid, parent } => (*pid, format!("child of {parent}")),
                Event::Exec { pid } => (*pid, "exec".to_owned()),
                Event::Exit { pid, .. } => (*pid, "exit".to_owned()),
                Event::Lost { .. } => return,
            };
            if of(pid) {
                ended |= pid == last && what == "exit";
                seen.push((pid, what));
            }
        });
    }
    seen
}

#[test]
fn a_process_from_its_birth_to_its_end() {
    let mut events = Events::open().unwrap();
    let mut child = Command::new("/bin/true").stdin(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let seen = seen_until_exit(&mut events, |of| of == pid, pid);
    let at = |what: &dyn Fn(&str) -> bool| seen.iter().position(|(_, seen)| what(seen)).unwrap();
    let fork = at(&|what| what == format!("child of {}", std::process::id()));
    let exec = at(&|what| what == "exec");
    let program = at(&|what| what.starts_with("mapped ") && what.ends_with("/true"));
    let library = at(&|what| what.starts_with("mapped ") && what.contains("libc.so"));
    let exit = at(&|what| what == "exit");
    assert!(
        fork < exec && exec < program && program < library && library < exit,
        "{seen:?}"
    );
    assert!(events.cpus() > 0 && events.bytes() == events.cpus() * RING_BYTES);
}

#[test]
fn a_buffer_whose_processor_went_away_is_opened_anew() {
    let mut events = Events::open().unwrap();
    // Time goes by for those that are enabled, none for the others.
    assert_eq!(events.follow_cpus(), Change::default());
    let cpus = events.cpus();
    events.cpus[0].ring.disable();
    while events.follow_cpus()
        != (Change {
            joined: 1,
            left: 1,
            failed: 0,
        })
    {}
    assert_eq!(events.cpus(), cpus);
    assert_eq!(events.follow_cpus(), Change::default());
}
