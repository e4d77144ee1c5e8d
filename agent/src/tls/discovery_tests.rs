use std::collections::HashSet;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tls::library::{EntryPoint, Function, Functions, LibraryName, Linkage};
use crate::tls::maps::{Device, FileKey};

/// Files that end with this are the test's libraries: all else on this machine is left alone.
struct Marks {
    mark: Vec<u8>,
    looks: Arc<AtomicUsize>,
}

impl Inspect for Marks {
    fn inspect(&mut self, file: &File) -> Result<Vec<Library>, InspectError> {
        let size = file.metadata().unwrap().len();
        let mut end = vec![0; self.mark.len() + 1];
        let Some(at) = size.checked_sub(end.len() as u64) else {
            return Ok(Vec::new());
        };
        file.read_exact_at(&mut end, at).unwrap();
        let Some(kind) = end.strip_prefix(self.mark.as_slice()) else {
            return Ok(Vec::new());
        };
        self.looks.fetch_add(1, Ordering::Relaxed);
        let functions = match kind {
            b"!" => return Err(InspectError("of no use".to_owned())),
            b"s" => Functions::NoSymbols,
            _ => Functions::Found(vec![EntryPoint {
                function: Function::SslRead,
                offset: 0x1000,
                returns: Vec::new(),
            }]),
        };
        Ok(vec![Library {
            name: LibraryName::OpenSsl,
            version: Some(String::from_utf8_lossy(kind).into_owned()),
            linkage: Linkage::Static,
            functions,
        }])
    }
}

/// Probes in place now, as inodes of the files.
#[derive(Clone, Default)]
struct Kernel(Arc<std::sync::Mutex<Vec<u64>>>);

struct Probe(u64, Kernel);

impl Drop for Probe {
    fn drop(&mut self) {
        self.1.0.lock().unwrap().retain(|inode| *inode != self.0);
    }
}

impl Attach for Kernel {
    type Probes = Probe;

    fn attach(&mut self, image: &OpenedImage<'_>, _: &Library) -> Result<Probe, AttachError> {
        let inode = std::fs::metadata(image.path()).unwrap().ino();
        assert_eq!(inode, image.file().metadata().unwrap().ino());
        let mut probes = self.0.lock().unwrap();
        if probes.contains(&inode) {
            return Err(AttachError("twice".to_owned()));
        }
        probes.push(inode);
        Ok(Probe(inode, self.clone()))
    }
}

struct Case {
    dir: tempfile::TempDir,
    mark: Vec<u8>,
    looks: Arc<AtomicUsize>,
    kernel: Kernel,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = dir.path().as_os_str().as_encoded_bytes().to_vec();
        mark.reverse();
        Self {
            dir,
            mark,
            looks: Arc::default(),
            kernel: Kernel::default(),
        }
    }

    fn discovery(&self, limits: Limits) -> Discovery<Marks, Kernel> {
        let marks = Marks {
            mark: self.mark.clone(),
            looks: Arc::clone(&self.looks),
        };
        Discovery::new(marks, self.kernel.clone(), limits)
    }

    /// A copy of a file that is a library of the test.
    fn copy(&self, of: &str, name: &str, kind: u8) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut bytes = std::fs::read(of).unwrap();
        bytes.extend_from_slice(&self.mark);
        bytes.push(kind);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn probes(&self) -> usize {
        self.kernel.0.lock().unwrap().len()
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

/// A process with pipes, ended with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn tell(&mut self, line: &str) {
        self.0.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> u8 {
        let mut byte = [0];
        self.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        byte[0]
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(discovery: &mut Discovery<Marks, Kernel>, done: impl Fn(&Discovery<Marks, Kernel>) -> bool) {
    while !done(discovery) {
        discovery.poll();
        discovery.step(Duration::from_millis(1));
    }
}

fn states(findings: &Findings, pid: u32) -> Option<Vec<&'static str>> {
    let list = findings.of(pid)?;
    Some(list.iter().map(|finding| finding.state.name()).collect())
}

fn short_lived() -> Limits {
    let mut limits = Limits::default();
    limits.inodes.linger_ns = 0;
    limits
}

#[test]
fn processes_older_than_the_agent() {
    let case = Case::new();
    let program = case.copy("/bin/cat", "a b\nlibssl.so.3", b'1');
    let one = Process::start(&mut Command::new(&program));
    let two = Process::start(&mut Command::new(&program));
    let other = Process::start(&mut Command::new("/bin/cat"));
    let mut discovery = case.discovery(short_lived());
    let findings = discovery.findings();
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    for process in [&one, &two] {
        assert_eq!(states(&findings, process.pid()), Some(vec!["attached"]));
    }
    assert_eq!(states(&findings, other.pid()), Some(vec![]));
    assert_eq!(states(&findings, std::process::id()), None);
    assert_eq!((case.probes(), case.looks()), (1, 1));
    let row = discovery
        .report()
        .libraries
        .into_iter()
        .find(|row| row.version == "1")
        .unwrap();
    assert_eq!(
        (row.library.as_str(), row.processes, row.files),
        ("openssl", 2, 1)
    );
    // The last user gone, the probes go; what was known of it is still known for a while.
    let pid = one.pid();
    one.end();
    until(&mut discovery, |discovery| !discovery.processes.knows(pid));
    assert_eq!(case.probes(), 1);
    two.end();
    until(&mut discovery, |_| case.probes() == 0);
    assert_eq!(states(&findings, pid), Some(vec!["attached"]));
    assert_eq!(discovery.counters().libraries_detached, 1);
}

#[test]
fn a_library_that_a_running_process_opens_and_that_has_no_name_any_more() {
    let case = Case::new();
    let libssl = ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib64/libssl.so.3"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    let library = case.copy(libssl, "x\n(deleted)", b'1');
    let script = "import ctypes, os, sys\nprint('r', flush=True)\nsys.stdin.readline()\n\
                  ctypes.CDLL(sys.argv[1])\nos.unlink(sys.argv[1])\nprint('u', flush=True)\nsys.stdin.readline()";
    let mut python = Process::start(Command::new("python3").arg("-c").arg(script).arg(&library));
    assert_eq!(python.hear(), b'r');
    let mut discovery = case.discovery(Limits::default());
    let findings = discovery.findings();
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    assert_eq!(states(&findings, python.pid()), Some(vec![]));
    python.tell("\n");
    // The newline of what it said first, then what it says when the file has no name any more.
    while python.hear() != b'u' {}
    assert!(!library.exists());
    until(&mut discovery, |_| {
        states(&findings, python.pid()) == Some(vec!["attached"])
    });
    // Nobody else can come to use it: it does not linger.
    let pid = python.pid();
    python.end();
    until(&mut discovery, |_| case.probes() == 0);
    assert_eq!(states(&findings, pid), Some(vec!["attached"]));
}

#[test]
fn children_have_what_their_parents_have_until_they_execute() {
    let case = Case::new();
    let shell = case.copy("/bin/sh", "sh", b's');
    let mut discovery = case.discovery(Limits::default());
    let findings = discovery.findings();
    let pipe = case.dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open at both ends, so that nobody waits for the other.
    let mut held = File::options().read(true).write(true).open(&pipe).unwrap();
    let script = "(read a < \"$0\"; exec cat \"$0\") & echo $!; wait";
    let mut parent = Process::start(Command::new(&shell).args(["-c", script]).arg(&pipe));
    let said: Vec<u8> = std::iter::repeat_with(|| parent.hear())
        .take_while(|byte| *byte != b'\n')
        .collect();
    let child: u32 = String::from_utf8(said).unwrap().parse().unwrap();
    until(&mut discovery, |_| {
        [parent.pid(), child]
            .iter()
            .all(|pid| states(&findings, *pid) == Some(vec!["no_symbols"]))
    });
    held.write_all(b"\n").unwrap();
    until(&mut discovery, |_| states(&findings, child) == Some(vec![]));
    assert_eq!(states(&findings, parent.pid()), Some(vec!["no_symbols"]));
    assert_eq!(case.looks(), 1);
}

#[test]
fn a_process_whose_first_thread_ended_goes_on() {
    let case = Case::new();
    let python = std::fs::canonicalize("/usr/bin/python3").unwrap();
    let python = case.copy(python.to_str().unwrap(), "python", b'1');
    let script = "import ctypes, sys, threading\nthreading.Thread(target=sys.stdin.readline).start()\n\
                  ctypes.CDLL(None).syscall(60, 0)";
    let mut discovery = case.discovery(Limits::default());
    let findings = discovery.findings();
    let process = Process::start(Command::new(python).arg("-c").arg(script));
    let pid = process.pid();
    until(&mut discovery, |discovery| discovery.processes.lost_leader(pid));
    assert_eq!(states(&findings, pid), Some(vec!["attached"]));
    process.end();
    until(&mut discovery, |discovery| !discovery.processes.knows(pid));
}

#[test]
fn what_is_no_library_is_refused_and_said() {
    let case = Case::new();
    let program = case.copy("/bin/cat", "libssl.so.3", b'!');
    // A text, mapped executable, whose name looks like a library; 4 GiB of nothing.
    let text = case.dir.path().join("libssl.so.3 (deleted)");
    std::fs::write(&text, "no library").unwrap();
    let sparse = case.dir.path().join("libssl.so.1.1");
    File::create(&sparse).unwrap().set_len(4 << 30).unwrap();
    let script = "import mmap, sys\nfiles = [open(path, 'rb') for path in sys.argv[1:]]\n\
                  maps = [mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC) for file in files]\n\
                  print('r', flush=True)\nsys.stdin.readline()";
    let mut mapping = Process::start(
        Command::new("python3")
            .arg("-c")
            .arg(script)
            .args([&text, &sparse]),
    );
    let refused = Process::start(&mut Command::new(&program));
    assert_eq!(mapping.hear(), b'r');
    let mut discovery = case.discovery(Limits::default());
    let findings = discovery.findings();
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    assert_eq!(states(&findings, refused.pid()), Some(vec!["rejected"]));
    assert_eq!(states(&findings, mapping.pid()), Some(vec![]));
    assert_eq!((case.probes(), discovery.counters().files_rejected), (0, 1));
}

#[test]
fn a_storm_of_short_processes_leaves_nothing_behind() {
    const PROCESSES: usize = 2000;
    let case = Case::new();
    let program = case.copy("/bin/true", "true", b'1');
    let mut discovery = case.discovery(Limits::default());
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    let before = discovery.counters();
    let (mut pids, mut files_most) = (HashSet::new(), 0);
    for _ in 0..PROCESSES {
        let mut child = Command::new(&program).stdin(Stdio::null()).spawn().unwrap();
        pids.insert(child.id());
        child.wait().unwrap();
        discovery.poll();
        discovery.step(Duration::ZERO);
        files_most = files_most.max(discovery.inodes.files());
    }
    until(&mut discovery, |discovery| {
        discovery.queue.is_empty() && pids.iter().all(|pid| !discovery.processes.knows(*pid))
    });
    let after = discovery.counters();
    // Looked into once although each was gone before, and probed in between.
    assert_eq!((case.looks(), case.probes()), (1, 1));
    assert!(
        after.mappings - before.mappings >= 3 * PROCESSES as u64,
        "{after:?}"
    );
    assert_eq!(after.events_lost, before.events_lost);
    assert_eq!(after.queue_full, before.queue_full);
    assert!(files_most < 10_000, "{files_most}");
    // Of each it is known for a while what it had.
    let findings = discovery.findings();
    let attached = |pid: &&u32| states(&findings, **pid) == Some(vec!["attached"]);
    assert_eq!(pids.iter().filter(attached).count(), pids.len());
}

#[test]
fn lost_events_lead_to_another_look_at_all() {
    let case = Case::new();
    let program = case.copy("/bin/cat", "cat", b'1');
    let mut discovery = case.discovery(Limits::default());
    let findings = discovery.findings();
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    // A process that ended and one that began while nothing was told.
    discovery.events = Err("not now".to_owned());
    discovery.ensure(0x7fff_fff0);
    let process = Process::start(&mut Command::new(&program));
    discovery.apply(&Event::Lost { records: 3 }, monotonic_ns());
    assert!(!discovery.step(Duration::ZERO), "not again so soon");
    discovery.scanned_ns = Some(monotonic_ns() - SCAN_INTERVAL_NS);
    until(&mut discovery, |discovery| discovery.counters().scans == 2);
    assert_eq!(states(&findings, process.pid()), Some(vec!["attached"]));
    assert!(!discovery.processes.knows(0x7fff_fff0));
    assert_eq!(discovery.counters().events_lost, 3);
}

fn wanted(pid: u32, inode: u64) -> Wanted {
    Wanted {
        pid,
        start: 0x1000,
        end: 0x2000,
        file: FileKey {
            device: Device { major: 0, minor: 0 },
            inode,
        },
        name: Box::default(),
        parent: None,
    }
}

#[test]
fn limits_are_counted() {
    let case = Case::new();
    let limits = Limits {
        processes: 2,
        // No processes but those of the test.
        proc_root: case.dir.path().to_owned(),
        ..Limits::default()
    };
    let mut discovery = case.discovery(limits);
    discovery.events = Err(String::new());
    let none = 1 << 30;
    for (pid, fits) in [(none, true), (none + 1, true), (none, true), (none + 2, false)] {
        assert_eq!(discovery.ensure(pid), fits);
    }
    assert_eq!(discovery.counters().processes_beyond_limit, 1);
    until(&mut discovery, |discovery| discovery.counters().scans == 1);
    discovery.ensure(none);
    for (waiting, full) in [(QUEUE_MAX, 0), (1, 1)] {
        for inode in 0..waiting as u64 {
            discovery.uses(wanted(none, inode + 1), Some(1));
        }
        assert_eq!(discovery.counters().queue_full, full);
        assert_eq!(discovery.scan_wanted, full > 0);
    }
    // All of them are gone.
    discovery.scan_wanted = false;
    until(&mut discovery, |discovery| discovery.queue.is_empty());
    assert_eq!(discovery.counters().gone_before_look, QUEUE_MAX as u64);
    for (files, beyond) in [(MAPPINGS_MAX, 0), (1, 1)] {
        for _ in 0..files {
            let key = wanted(none, discovery.inodes.files() as u64 + 1).file;
            let identity = super::super::opening::Identity::Inode(key);
            let stamp = super::super::opening::Stamp::of(1);
            let verdict = inodes::Verdict::NOTHING;
            let image = discovery.inodes.add_image(identity, stamp, false, verdict, 0);
            let place = discovery.inodes.add_place(key, image, Some(1), 0);
            discovery.uses(wanted(none, key.inode), Some(1));
            assert!(discovery.inodes.findings_at(place).is_empty());
        }
        assert_eq!(discovery.counters().mappings_beyond_limit, beyond);
    }
    let findings = discovery.findings();
    assert_eq!(states(&findings, none), Some(vec!["rejected"]));
    discovery.apply(&Event::Fork { pid: 0, parent: 0 }, 0);
    assert_eq!(discovery.counters().events_outside, 1);
    assert!(!discovery.processes.knows(0));
}

#[test]
fn the_thread_takes_out_probes_before_it_ends() {
    let case = Case::new();
    let program = case.copy("/bin/cat", "cat", b'1');
    let process = Process::start(&mut Command::new(&program));
    let mut worker = Worker::start(case.discovery(Limits::default())).unwrap();
    while states(worker.findings(), process.pid()) != Some(vec!["attached"]) {
        std::thread::yield_now();
    }
    while worker.latest().1.probed == 0 {
        std::thread::yield_now();
    }
    assert_eq!(case.probes(), 1);
    worker.stop();
    assert_eq!(case.probes(), 0);
}
