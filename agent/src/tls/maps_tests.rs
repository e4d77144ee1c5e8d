use proptest::prelude::*;

use super::*;

const LINE: &str = "7f0000001000-7f0000002000 r-xp 00001000 fe:01 42                       ";

fn named(name: &str) -> Vec<u8> {
    [LINE.as_bytes(), name.as_bytes()].concat()
}

fn key(major: u32, minor: u32, inode: u64) -> Option<FileKey> {
    Some(FileKey {
        device: Device { major, minor },
        inode,
    })
}

/// Gives out what it has in parts of a size.
struct Parts<'a>(&'a [u8], usize);

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.1.min(buffer.len()).min(self.0.len());
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Ok(size)
    }
}

#[test]
fn lines() {
    for (line, start, executable, file, name) in [
        (
            "55d0-55e0 r--p 00000000 fe:00 7 /bin/a",
            0x55d0,
            false,
            key(0xfe, 0, 7),
            "/bin/a",
        ),
        (
            "7f00-7f10 r-xp 00001000 00:2a 6   /m/libssl.so.3 (deleted)",
            0x7f00,
            true,
            key(0, 0x2a, 6),
            "/m/libssl.so.3 (deleted)",
        ),
        ("7f00-7f10 rwxp 00000000 00:00 0 ", 0x7f00, true, None, ""),
        ("7f00-7f10 ---s 00000000 103:05 0", 0x7f00, false, None, ""),
        (
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
            0xffff_ffff_ff60_0000,
            true,
            None,
            "[vsyscall]",
        ),
        (
            "7f00-7f10 r-xp 00000000 00:01 9 /memfd:a b (deleted)",
            0x7f00,
            true,
            key(0, 1, 9),
            "/memfd:a b (deleted)",
        ),
    ] {
        let mapping = Mapping::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (mapping.start, mapping.executable, mapping.file, mapping.name),
            (start, executable, file, name.as_bytes()),
            "{line}"
        );
    }
}

#[test]
fn names_that_imitate_fields_change_nothing_else() {
    for name in [
        "/lib/libssl.so.3 X",
        "/a 7f00-7f10 r-xp 00000000 fe:01 99 /usr/lib/libssl.so.3",
        r"/a\0127f00-7f10 r-xp 00000000 fe:01 99 /usr/lib/libssl.so.3",
        " /begins with a blank",
        "/a (deleted) (deleted)",
        "[heap]",
        "",
    ] {
        let line = named(name);
        let mapping = Mapping::parse(&line).unwrap();
        assert_eq!((mapping.file, mapping.executable), (key(0xfe, 1, 42), true));
        assert_eq!(mapping.name, name.trim_start_matches(' ').as_bytes());
    }
    assert_eq!(unescape(br"/a\012b\012"), b"/a\nb\n");
    assert_eq!(unescape(br"/a\01"), br"/a\01");
}

#[test]
fn what_is_no_line_is_none() {
    for line in [
        "",
        "7f00",
        "7f00-7f10",
        "7f00-7f10 r-xp",
        "7f00-7f10 r-xp 0 fe:01",
        "7f10-7f00 r-xp 0 fe:01 1 /a",
        "7f00-7f10 r-x 0 fe:01 1 /a",
        "7f00-7f10 r-Xp 0 fe:01 1 /a",
        "7f00-7f10 r-xp 0 fe01 1 /a",
        "7f00-7f10 r-xp 0 fe:01 -1 /a",
        "7f00-7f10 r-xp 0 fe:01 99999999999999999999 /a",
        "7f00-7f10 r-xp 0 1fffffffff:01 1 /a",
        "+7f00-7f10 r-xp 0 fe:01 1 /a",
    ] {
        assert_eq!(Mapping::parse(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn a_line_at_the_limit_is_read_and_one_beyond_is_counted_and_skipped() {
    for part in [1 << 20, 4096, 4095] {
        for (over, names) in [(0, 2), (1, 1), (200_000, 1)] {
            let mut text = named(&"n".repeat(LINE_BYTES_MAX - LINE.len() + over));
            text.push(b'\n');
            text.extend(named("/after"));
            text.push(b'\n');
            let mut seen = Vec::new();
            let unread = Reader::default()
                .read(Parts(&text, part), |mapping| {
                    seen.push(mapping.name.len());
                    true
                })
                .unwrap();
            assert_eq!(seen.len(), names, "{part} {over}");
            assert_eq!(seen.last(), Some(&"/after".len()));
            assert_eq!((unread.long, unread.malformed), (u64::from(over > 0), 0));
        }
    }
}

/// As many lines as anybody asks for.
struct Endless(Vec<u8>, usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

#[test]
fn more_than_is_read_of_one_process_is_said() {
    let mut line = named("/a");
    line.push(b'\n');
    let length = line.len();
    let mut lines = 0;
    let unread = Reader::default()
        .read(Endless(line, 0), |_| {
            lines += 1;
            true
        })
        .unwrap();
    assert!(unread.cut && lines >= MAPS_BYTES_MAX / length - 1);
}

#[test]
fn whoever_takes_may_stop() {
    let text = [named("/a"), named("/b")].join(&b'\n');
    let mut taken = 0;
    let unread = Reader::default().read(text.as_slice(), |_| {
        taken += 1;
        false
    });
    assert_eq!((taken, unread.unwrap()), (1, Unread::default()));
}

#[test]
fn this_process() {
    let here = this_process as *const () as u64;
    let mut found = None;
    let file = std::fs::File::open("/proc/self/maps").unwrap();
    let unread = Reader::default()
        .read(file, |mapping| {
            if (mapping.start..mapping.end).contains(&here) {
                found = mapping.file.filter(|_| mapping.executable);
            }
            true
        })
        .unwrap();
    let exe = std::fs::metadata("/proc/self/exe").unwrap();
    assert_eq!(found.unwrap().inode, std::os::unix::fs::MetadataExt::ino(&exe));
    assert_eq!(unread, Unread::default());
}

proptest! {
    #[test]
    fn any_name_is_the_name(name in proptest::collection::vec(any::<u8>(), 0..300), part in 1_usize..97) {
        // As the kernel writes it.
        let mut escaped = Vec::new();
        for byte in &name {
            match byte {
                b'\n' => escaped.extend_from_slice(br"\012"),
                other => escaped.push(*other),
            }
        }
        let mut text = LINE.as_bytes().to_vec();
        text.push(b'/');
        text.extend(&escaped);
        text.push(b'\n');
        let mut seen = Vec::new();
        let unread = Reader::default().read(Parts(&text, part), |mapping| {
            seen.push((mapping.file, mapping.name.to_vec()));
            true
        }).unwrap();
        prop_assert_eq!(unread, Unread::default());
        prop_assert_eq!(seen, vec![(key(0xfe, 1, 42), [b"/", escaped.as_slice()].concat())]);
    }

    #[test]
    fn any_bytes_give_no_more_mappings_than_lines(text in proptest::collection::vec(any::<u8>(), 0..2000), part in 1_usize..97) {
        let mut mappings = 0;
        let unread = Reader::default().read(Parts(&text, part), |_| { mappings += 1; true }).unwrap();
        let lines = text.split(|byte| *byte == b'\n').count() as u64;
        prop_assert!(mappings + unread.malformed + unread.long <= lines);
    }
}
