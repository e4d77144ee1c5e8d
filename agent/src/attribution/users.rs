//! User names from a passwd file. Names of other sources (LDAP, systemd-userdbd) are not asked for: that would be a request
//! over a socket, from an agent that watches sockets.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::text::clean;

/// Larger files are read up to here.
const PASSWD_BYTES_MAX: u64 = 4 << 20;
/// Linux allows 32; others' files may not.
const USER_NAME_BYTES_MAX: usize = 64;
/// How often the file is looked at for a change, ns.
const CHECK_INTERVAL_NS: u64 = 30_000_000_000;

/// Name and home directory of each user.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    users: HashMap<u32, User>,
    modified: Option<SystemTime>,
    checked_ns: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    home: PathBuf,
}

impl Users {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            users: HashMap::new(),
            modified: None,
            checked_ns: None,
        }
    }

    /// Name of the user, else the number.
    pub(super) fn name(&mut self, uid: u32, now_ns: u64) -> String {
        self.refresh(now_ns);
        self.users
            .get(&uid)
            .map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// Home directory of the user.
    pub(super) fn home(&mut self, uid: u32, now_ns: u64) -> Option<PathBuf> {
        self.refresh(now_ns);
        self.users.get(&uid).map(|user| user.home.clone())
    }

    fn refresh(&mut self, now_ns: u64) {
        if self
            .checked_ns
            .is_some_and(|at| now_ns.saturating_sub(at) < CHECK_INTERVAL_NS)
        {
            return;
        }
        self.checked_ns = Some(now_ns);
        let modified = std::fs::metadata(&self.path)
            .and_then(|meta| meta.modified())
            .ok();
        if modified.is_some() && modified == self.modified {
            return;
        }
        let mut text = Vec::new();
        // A file that cannot be read leaves what was known.
        if File::open(&self.path)
            .and_then(|file| file.take(PASSWD_BYTES_MAX).read_to_end(&mut text))
            .is_ok()
        {
            self.users = parse(&text);
            self.modified = modified;
        }
    }
}

/// passwd(5): `name:password:uid:gid:gecos:home:shell`. The first entry of a uid counts, as for getpwuid(3).
fn parse(text: &[u8]) -> HashMap<u32, User> {
    let mut users = HashMap::new();
    for line in text.split(|b| *b == b'\n') {
        let fields: Vec<&[u8]> = line.splitn(7, |b| *b == b':').collect();
        let [name, _, uid, _, _, home, ..] = fields.as_slice() else {
            continue;
        };
        let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) else {
            continue;
        };
        let Ok(home) = std::str::from_utf8(home) else {
            continue;
        };
        if name.is_empty() || name.starts_with(b"#") {
            continue;
        }
        let user = User {
            name: clean(name, USER_NAME_BYTES_MAX),
            home: PathBuf::from(home),
        };
        users.entry(uid).or_insert(user);
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_homes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        std::fs::write(&path, "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nweb:x:33:33::/srv:/x\nbad\n#c:x:9:9::/:\nx:x:nan:0::/:\n")
            .unwrap();
        let mut users = Users::new(&path);
        assert_eq!(users.name(0, 0), "root");
        assert_eq!(users.name(33, 0), "web");
        assert_eq!(users.home(33, 0), Some(PathBuf::from("/srv")));
        assert_eq!(users.name(9, 0), "9");
        assert_eq!(users.name(4242, 0), "4242");

        std::fs::write(&path, "new:x:4242:0::/home/new:\n").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(
            users.name(4242, CHECK_INTERVAL_NS - 1),
            "4242",
            "not looked at again yet"
        );
        assert_eq!(users.name(4242, CHECK_INTERVAL_NS), "new");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            users.name(4242, 3 * CHECK_INTERVAL_NS),
            "new",
            "a missing file leaves what was known"
        );
    }

    #[test]
    fn hostile_names() {
        let users = parse(b"a\x1b[2Jb:x:1:1::/:\n\xff:x:2:2::/:\n");
        assert_eq!(users.get(&1).unwrap().name, "a\u{fffd}[2Jb");
        assert_eq!(users.get(&2).unwrap().name, "\u{fffd}");
    }
}
