use std::rc::Rc;

use super::*;
use crate::tls::library::{LibraryName, State};
use crate::tls::maps::Device;

/// Probes whose end can be seen.
type Probes = Rc<()>;

fn key(minor: u32, inode: u64) -> FileKey {
    FileKey {
        device: Device { major: 0, minor },
        inode,
    }
}

fn stamp(size: u64) -> Stamp {
    Stamp::of(size)
}

fn library(probes: &Probes) -> Verdict<Probes> {
    Verdict {
        findings: vec![Arc::new(Finding {
            library: Some(LibraryName::OpenSsl),
            version: None,
            state: State::Attached,
        })],
        probes: vec![Rc::clone(probes)],
    }
}

fn inodes(files: usize, libraries: usize) -> Inodes<Probes> {
    Inodes::new(Limits {
        files,
        libraries,
        linger_ns: 100,
    })
}

fn add(inodes: &mut Inodes<Probes>, key: FileKey, verdict: Verdict<Probes>, now_ns: u64) -> Id {
    let image = inodes.add_image(Identity::Inode(key), stamp(1), false, verdict, now_ns);
    inodes.add_place(key, image, None, now_ns)
}

#[test]
fn probes_outlive_the_last_user_for_a_while() {
    let probes = Probes::default();
    let mut inodes = inodes(8, 8);
    let place = add(&mut inodes, key(1, 7), library(&probes), 0);
    inodes.join(place);
    inodes.join(place);
    inodes.leave(place, 10);
    assert_eq!(inodes.place(key(1, 7), None), Some(place));
    assert_eq!(inodes.findings().map(|(_, users)| users).collect::<Vec<_>>(), [1]);
    inodes.leave(place, 20);
    // The numbers may mean another file now: they are asked again.
    assert_eq!(inodes.place(key(1, 7), None), None);
    inodes.expire(119);
    assert_eq!((Rc::strong_count(&probes), inodes.probed()), (2, 1));
    let image = inodes.image(&Identity::Inode(key(1, 7)), &stamp(1), 119).unwrap();
    // It is the same file: used again, it stays.
    let place = inodes.add_place(key(1, 7), image, None, 119);
    inodes.join(place);
    inodes.expire(1000);
    assert_eq!(Rc::strong_count(&probes), 2);
    inodes.leave(place, 1000);
    inodes.expire(1100);
    assert_eq!((Rc::strong_count(&probes), inodes.probed()), (1, 0));
    assert_eq!((inodes.files(), inodes.detached()), (0, 1));
    assert_eq!(inodes.image(&Identity::Inode(key(1, 7)), &stamp(1), 0), None);
}

#[test]
fn a_file_without_a_name_goes_with_its_last_user() {
    let probes = Probes::default();
    let mut inodes = inodes(8, 8);
    let identity = Identity::Inode(key(1, 7));
    let image = inodes.add_image(identity, stamp(1), true, library(&probes), 0);
    let place = inodes.add_place(key(1, 7), image, None, 0);
    inodes.join(place);
    inodes.expire(1000);
    assert_eq!(Rc::strong_count(&probes), 2);
    inodes.leave(place, 1000);
    inodes.expire(1000);
    assert_eq!(Rc::strong_count(&probes), 1);
}

#[test]
fn a_file_of_several_containers_is_probed_once() {
    let probes = Probes::default();
    let mut inodes = inodes(8, 8);
    let real = Identity::Real(b"layer".as_slice().into());
    let image = inodes.add_image(real.clone(), stamp(1), false, library(&probes), 0);
    let one = inodes.add_place(key(1, 7), image, None, 0);
    inodes.join(one);
    assert_eq!(inodes.image(&real, &stamp(1), 0), Some(image));
    let two = inodes.add_place(key(2, 7), image, None, 0);
    inodes.join(two);
    assert_eq!(inodes.findings().map(|(_, users)| users).collect::<Vec<_>>(), [2]);
    inodes.leave(one, 0);
    inodes.expire(1000);
    assert_eq!(Rc::strong_count(&probes), 2);
    assert_eq!(
        (inodes.findings_at(two).len(), inodes.findings_at(one).len()),
        (1, 0)
    );
    inodes.leave(two, 1000);
    inodes.expire(1100);
    assert_eq!(Rc::strong_count(&probes), 1);
}

#[test]
fn numbers_that_mean_another_file_are_told_by_their_generation() {
    let mut inodes = inodes(8, 8);
    let place = add(&mut inodes, key(1, 7), Verdict::NOTHING, 0);
    inodes.join(place);
    // Read from the mappings of a process, that is not known: the first event asks for a look.
    assert_eq!(inodes.place(key(1, 7), Some(5)), None);
    let image = inodes.image(&Identity::Inode(key(1, 7)), &stamp(1), 0).unwrap();
    assert_eq!(inodes.add_place(key(1, 7), image, Some(5), 0), place);
    assert_eq!(inodes.place(key(1, 7), Some(5)), Some(place));
    assert_eq!(inodes.place(key(1, 7), None), Some(place));
    assert_eq!(inodes.place(key(1, 7), Some(6)), None);
}

#[test]
fn a_changed_file_is_looked_at_again_and_probed_anew() {
    let (before, after) = (Probes::default(), Probes::default());
    let mut inodes = inodes(8, 8);
    let place = add(&mut inodes, key(1, 7), library(&before), 0);
    inodes.join(place);
    let identity = Identity::Inode(key(1, 7));
    assert_eq!(inodes.image(&identity, &stamp(2), 0), None);
    inodes.add_image(identity.clone(), stamp(2), false, library(&after), 0);
    assert_eq!((Rc::strong_count(&before), Rc::strong_count(&after)), (1, 2));
    assert_eq!((inodes.probed(), inodes.files(), inodes.detached()), (1, 1, 1));
    // Replaced by another file with its numbers: what was there is left.
    let other = inodes.add_image(Identity::Inode(key(2, 7)), stamp(1), false, Verdict::NOTHING, 0);
    assert_eq!(inodes.add_place(key(1, 7), other, Some(9), 0), place);
    inodes.expire(100);
    assert_eq!(Rc::strong_count(&after), 1);
    inodes.leave(place, 100);
    inodes.expire(200);
    assert_eq!(inodes.files(), 0);
}

#[test]
fn at_the_limit_files_that_nobody_uses_make_room_and_used_ones_do_not() {
    let probes = Probes::default();
    let mut inodes = inodes(3, 8);
    let file = |inode| Identity::Inode(key(1, inode));
    for (inode, verdict, used) in [
        (0, library(&probes), false),
        (1, Verdict::NOTHING, true),
        (2, Verdict::NOTHING, false),
    ] {
        assert!(inodes.has_room_for_file(&file(inode)));
        let place = add(&mut inodes, key(1, inode), verdict, inode);
        inodes.join(place);
        if !used {
            inodes.leave(place, 5);
        }
    }
    // First one without probes makes room, then one with, then none does.
    for (inode, room, probed) in [(3, true, 2), (4, true, 1), (5, false, 1)] {
        assert_eq!(inodes.has_room_for_file(&file(inode)), room, "{inode}");
        assert_eq!(Rc::strong_count(&probes), probed);
        if room {
            let place = add(&mut inodes, key(1, inode), Verdict::NOTHING, 7);
            inodes.join(place);
        }
    }
    assert_eq!(inodes.files(), 3);
    assert!(inodes.image(&file(1), &stamp(1), 0).is_some());
}

#[test]
fn at_the_limit_libraries_that_nobody_uses_make_room_and_used_ones_do_not() {
    let probes = Probes::default();
    let mut inodes = inodes(8, 1);
    assert!(inodes.has_room_for_library());
    let place = add(&mut inodes, key(1, 0), library(&probes), 0);
    inodes.join(place);
    assert!(!inodes.has_room_for_library());
    inodes.leave(place, 0);
    assert!(inodes.has_room_for_library());
    assert_eq!((Rc::strong_count(&probes), inodes.probed()), (1, 0));
}
