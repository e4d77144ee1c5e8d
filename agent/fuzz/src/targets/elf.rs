//! Files that strangers map into their processes. To keep them small an input says only where a file is not zero.

use std::collections::BTreeSet;
use std::io;

use eastwatch_agent::tls::elf::{BUILD_ID_BYTES_MAX, Image, READ_BYTES_MAX, Source, read_source};
use eastwatch_agent::tls::library::{Functions, VERSION_BYTES_MAX};

use crate::input::Input;

/// Length of the tail of zeros of the longer file, bytes.
const TAIL_BYTES: u64 = 1 << 20;

/// A file with nothing but zeros behind its begin.
struct Sparse {
    begin: Vec<u8>,
    len: u64,
}

impl Source for Sparse {
    fn file_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = into.len().min(there);
        into.fill(0);
        self.begin.read_at(into, offset)?;
        Ok(len)
    }
}

/// Length of the file, then pieces of it: place, length, bytes. Read as it is, and with a tail.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut begin = vec![0; usize::from(input.short())];
    while !input.is_empty() {
        let at = usize::from(input.short());
        let len = usize::from(input.byte());
        let piece = input.bytes(len);
        let there = begin.get_mut(at..).unwrap_or_default();
        there.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
    }
    let len = begin.len() as u64;
    for len in [len, len + TAIL_BYTES] {
        let file = Sparse {
            begin: begin.clone(),
            len,
        };
        if let Ok(image) = read_source(&file) {
            check(&image, len);
        }
    }
}

fn check(image: &Image, len: u64) {
    assert!(image.bytes_read <= READ_BYTES_MAX, "{}", image.bytes_read);
    let id = image.build_id.as_ref().map_or(1, Vec::len);
    assert!((1..=BUILD_ID_BYTES_MAX).contains(&id), "{image:?}");
    let names: BTreeSet<_> = image.libraries.iter().map(|library| library.name).collect();
    assert_eq!(names.len(), image.libraries.len(), "{image:?}");
    for library in &image.libraries {
        let version = library.version.as_deref().unwrap_or("1");
        let printable = version
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        assert!(
            (1..=VERSION_BYTES_MAX).contains(&version.len()) && printable,
            "{version:?}"
        );
        if let Functions::Found(points) = &library.functions {
            let functions: BTreeSet<_> = points.iter().map(|point| point.function).collect();
            assert!(
                !points.is_empty() && functions.len() == points.len(),
                "{library:?}"
            );
        }
        for point in library.functions.found() {
            assert_eq!(
                library.name.family(),
                Some(point.function.family()),
                "{library:?}"
            );
            let places: Vec<u64> = std::iter::once(point.offset)
                .chain(point.returns.iter().copied())
                .collect();
            assert!(places.iter().all(|at| *at < len), "{point:?}");
            assert!(places.is_sorted_by(|one, next| one < next), "{point:?}");
        }
    }
}
