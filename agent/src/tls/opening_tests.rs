use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::*;

/// A process that waits until its input ends.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The mapping that a process executes its program from, once there is one: it is begun before.
fn program_of(pid: u32) -> Wanted {
    std::iter::repeat_with(|| mapped_program_of(pid))
        .find_map(|found| found)
        .unwrap()
}

fn mapped_program_of(pid: u32) -> Option<Wanted> {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let mut wanted = None;
    Reader::default()
        .read(File::open(format!("/proc/{pid}/maps")).unwrap(), |mapping| {
            let name = super::super::maps::unescape(mapping.name);
            if mapping.executable && name == exe.as_os_str().as_bytes() {
                wanted = Some(Wanted {
                    pid,
                    start: mapping.start,
                    end: mapping.end,
                    file: mapping.file.unwrap(),
                    name: name.into(),
                    parent: None,
                });
            }
            wanted.is_none()
        })
        .unwrap();
    wanted
}

fn opened(wanted: &Wanted) -> Result<Opened, OpenError> {
    Opener::new(Path::new("/proc")).open(wanted, &mut Reader::default(), 0)
}

fn content(opened: &Opened) -> Vec<u8> {
    let mut bytes = Vec::new();
    (&opened.file).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_without_a_name_and_with_a_hostile_one() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libssl.so.3 X", "a\nb 7f00-7f10 r-xp", "x (deleted)"] {
        let path = dir.path().join(name);
        std::fs::copy("/bin/cat", &path).unwrap();
        let process = Waiting::start(&mut Command::new(&path));
        let wanted = program_of(process.0.id());
        let stat = std::fs::metadata(&path).unwrap();
        for unlinked in [false, true] {
            if unlinked {
                std::fs::remove_file(&path).unwrap();
            }
            let opened = opened(&wanted).unwrap();
            assert_eq!(opened.unlinked, unlinked, "{name:?}");
            assert_eq!(opened.identity, Identity::Inode(wanted.file));
            assert_eq!(opened.key.inode, stat.ino());
            assert_eq!(content(&opened), std::fs::read("/bin/cat").unwrap());
        }
    }
}

#[test]
fn only_the_mapped_file_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    std::fs::copy("/bin/cat", &path).unwrap();
    let process = Waiting::start(&mut Command::new(&path));
    let right = program_of(process.0.id());
    // Another file is there than the mapping showed.
    let mut other = right.clone();
    other.file.inode += 1;
    assert!(matches!(opened(&other), Err(OpenError::Other)));
    let mut other = right.clone();
    other.file.device.minor += 1;
    assert!(matches!(opened(&other), Err(OpenError::Other)));
    // The mapping is not where it was: the name is asked, and what is found under it is compared.
    let mut moved = right.clone();
    moved.end += 4096;
    assert_eq!(opened(&moved).unwrap().identity, Identity::Inode(right.file));
    for (name, gone) in [
        (b"/usr/bin/cat".as_slice(), false),
        (b"/no/such/file", true),
        (b"no path", true),
        (b"", true),
    ] {
        moved.name = name.into();
        let error = opened(&moved).unwrap_err();
        assert_eq!(matches!(error, OpenError::Gone), gone, "{error}");
        assert_eq!(matches!(error, OpenError::Other), !gone, "{error}");
    }
    drop(process);
    // The process is gone, the file is where it was for the agent as well.
    assert_eq!(opened(&right).unwrap().identity, Identity::Inode(right.file));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(opened(&right), Err(OpenError::Gone)));
}

#[test]
fn names_are_those_of_the_process() {
    // Laid out as procfs has it.
    let process = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let root = process.path().join("root");
    std::fs::create_dir_all(root.join("lib")).unwrap();
    std::fs::write(root.join("lib/right"), "inside").unwrap();
    symlink("/lib/right", root.join("absolute")).unwrap();
    symlink("../../../lib/right", root.join("lib/upwards")).unwrap();
    symlink(outside.path(), root.join("outside")).unwrap();
    symlink("/proc/self/exe", root.join("magic")).unwrap();
    for (name, found) in [
        ("/lib/right", true),
        ("/absolute", false),
        ("/lib/upwards", false),
        ("/../lib/right", true),
        ("/../../../lib/right", true),
        ("/outside", false),
        ("/magic", false),
    ] {
        let text = within_root(process.path(), name.as_bytes(), ResolveFlag::empty())
            .and_then(|place| readable(&place))
            .map(|mut file| {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            });
        assert_eq!(text.ok().as_deref(), found.then_some("inside"), "{name}");
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR).unwrap();
    for path in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
        let place = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        assert!(matches!(readable(&place), Err(OpenError::Irregular)), "{path:?}");
    }
}

#[test]
fn a_layer_of_two_unions_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let script = "set -e; mount -t tmpfs none \"$0\"; cd \"$0\"; mkdir l u1 w1 m1 u2 w2 m2; cp /bin/sleep l/
        for n in 1 2; do mount -t overlay none -o lowerdir=l,upperdir=u$n,workdir=w$n m$n; done
        cp m2/sleep m2/own; echo >> m2/own
        m1/sleep 600 & m2/sleep 600 & m2/own 600 & echo $!; wait";
    // In a mount namespace of its own, which ends with the last process in it.
    let mut shell = Command::new("unshare")
        .args([
            OsStr::new("-m"),
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new(script),
        ])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Once the last one runs, its number is said.
    let mut said = [0; 1];
    shell.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let children = || {
        let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id()));
        let pids = text.unwrap();
        let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let ready = pids.iter().all(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(dir.path()))
        });
        (pids.len() == 3 && ready).then_some(pids)
    };
    let pids = loop {
        if let Some(pids) = children() {
            break pids;
        }
    };
    let mut opener = Opener::new(Path::new("/proc"));
    let found: Vec<(FileKey, Opened)> = pids
        .iter()
        .map(|pid| {
            let wanted = program_of(*pid);
            let opened = opener.open(&wanted, &mut Reader::default(), 0).unwrap();
            (wanted.file, opened)
        })
        .collect();
    let [(shown, one), (also_shown, two), (_, own)] = found.as_slice() else {
        panic!("three processes")
    };
    // Older kernels show the layer's numbers in both, newer ones say what is behind their own.
    assert!(
        shown == also_shown || one.identity == two.identity,
        "{one:?} {two:?}"
    );
    assert_ne!(own.identity, two.identity);
    assert_ne!(own.key, two.key);
    for pid in pids {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    shell.wait().unwrap();
}
