//! Cgroup id → container and unit, for processes that are gone: learnt from living members of the cgroup, else found by
//! walking the cgroup file system, where a directory's inode is the cgroup's id.

use std::path::{Path, PathBuf};

use super::cgroup::{CgroupFacts, parse_path};
use super::counters::Counters;
use super::lru::Lru;
use super::procfs::inode_of;

use std::os::unix::fs::DirEntryExt;

/// Directories that one walk looks at.
const WALK_DIRS_MAX: usize = 16_384;
/// Depth that a walk descends to.
const WALK_DEPTH_MAX: usize = 16;
/// Least time between two walks, ns; also how long an id stays unknown.
const WALK_INTERVAL_NS: u64 = 1_000_000_000;
/// How long an id that no walk found stays unknown, ns.
const UNKNOWN_NS: u64 = 60_000_000_000;

/// What is known of each cgroup.
#[derive(Debug)]
pub(super) struct Cgroups {
    root: PathBuf,
    known: Lru<u64, Known>,
    walked_ns: Option<u64>,
    walk_dirs_max: usize,
}

#[derive(Clone, Debug)]
enum Known {
    Facts(CgroupFacts),
    NotFound { at_ns: u64 },
}

impl Cgroups {
    /// `root` is where the cgroup file systems are mounted: the v2 hierarchy itself, or with v1 and hybrid set-ups the
    /// directory that holds `unified`.
    pub(super) fn new(root: &Path, limit: usize) -> Self {
        let unified = root.join("unified");
        let root = if !root.join("cgroup.controllers").exists() && unified.is_dir() {
            unified
        } else {
            root.to_owned()
        };
        Self {
            root,
            known: Lru::new(limit),
            walked_ns: None,
            walk_dirs_max: WALK_DIRS_MAX,
        }
    }

    /// Id of the cgroup that a process says it is in, 0 when it cannot be seen from here.
    pub(super) fn id_of(&self, facts: &CgroupFacts) -> u64 {
        let Some(path) = facts.unified_path.as_deref() else {
            return 0;
        };
        if path.split('/').any(|part| part == "..") {
            return 0;
        }
        inode_of(&self.root.join(path.trim_start_matches('/'))).unwrap_or(0)
    }

    /// Remembers a member's facts for its cgroup, when they hold for all members and the id is that of the path: the process
    /// may have moved since the record.
    pub(super) fn learn(&mut self, id: u64, facts: &CgroupFacts, counters: &mut Counters) {
        if !facts.unified_only
            || matches!(self.known.get(&id), Some(Known::Facts(_)))
            || self.id_of(facts) != id
        {
            return;
        }
        self.insert(id, Known::Facts(facts.clone()), counters);
    }

    /// What is known of a cgroup. Its root says nothing: with v1 set-ups every process is in it.
    pub(super) fn facts(&mut self, id: u64, now_ns: u64, counters: &mut Counters) -> Option<CgroupFacts> {
        match self.known.get(&id) {
            Some(Known::Facts(facts)) => return Some(facts.clone()),
            Some(Known::NotFound { at_ns }) if now_ns.saturating_sub(*at_ns) < UNKNOWN_NS => return None,
            _ if id <= 1 => return None,
            _ => {}
        }
        if self
            .walked_ns
            .is_some_and(|at| now_ns.saturating_sub(at) < WALK_INTERVAL_NS)
        {
            return None;
        }
        self.walked_ns = Some(now_ns);
        let found = self.walk(id, counters).map(|path| CgroupFacts {
            path: path.clone(),
            ..parse_path(&path)
        });
        let known = found
            .clone()
            .map_or(Known::NotFound { at_ns: now_ns }, Known::Facts);
        self.insert(id, known, counters);
        found
    }

    fn insert(&mut self, id: u64, known: Known, counters: &mut Counters) {
        counters.cgroups_evicted += self.known.insert(id, known).len() as u64;
    }

    /// Breadth first, so that the bound cuts the deepest.
    fn walk(&self, wanted: u64, counters: &mut Counters) -> Option<String> {
        counters.cgroup_walks += 1;
        let mut level = vec![String::new()];
        let mut seen = 0_usize;
        for _ in 0..WALK_DEPTH_MAX {
            let mut next = Vec::new();
            for path in &level {
                let Ok(entries) = std::fs::read_dir(self.root.join(path.trim_start_matches('/'))) else {
                    continue;
                };
                for entry in entries
                    .flatten()
                    .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                {
                    let Ok(name) = entry.file_name().into_string() else {
                        continue;
                    };
                    let child = format!("{path}/{name}");
                    if entry.ino() == wanted {
                        return Some(child);
                    }
                    seen += 1;
                    if seen >= self.walk_dirs_max {
                        counters.cgroup_walks_cut += 1;
                        return None;
                    }
                    next.push(child);
                }
            }
            level = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::cgroup::parse_file;

    fn tree() -> (tempfile::TempDir, u64) {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/nginx.service");
        std::fs::create_dir_all(&unit).unwrap();
        let id = inode_of(&unit).unwrap();
        (root, id)
    }

    #[test]
    fn learnt_only_when_path_and_id_agree() {
        let (root, id) = tree();
        let mut counters = Counters::default();
        let mut cgroups = Cgroups::new(root.path(), 16);
        let facts = parse_file(b"0::/system.slice/nginx.service");
        assert_eq!(cgroups.id_of(&facts), id);
        cgroups.learn(id + 1_000_000, &facts, &mut counters);
        assert_eq!(cgroups.known.len(), 0, "moved meanwhile");
        cgroups.learn(id, &facts, &mut counters);
        assert_eq!(cgroups.facts(id, 0, &mut counters), Some(facts));
        assert_eq!(counters.cgroup_walks, 0);
        assert_eq!(
            cgroups.id_of(&parse_file(b"0::/../system.slice")),
            0,
            "never outside"
        );
    }

    #[test]
    fn found_by_walking_at_most_once_per_interval() {
        let (root, id) = tree();
        let mut counters = Counters::default();
        let mut cgroups = Cgroups::new(root.path(), 16);
        assert_eq!(
            cgroups.facts(id, 5, &mut counters).unwrap().unit.as_deref(),
            Some("nginx.service")
        );
        assert_eq!(cgroups.facts(1 << 60, 6, &mut counters), None);
        assert_eq!(counters.cgroup_walks, 1, "too soon");
        assert_eq!(cgroups.facts(1 << 60, 6 + WALK_INTERVAL_NS, &mut counters), None);
        assert_eq!(
            cgroups.facts(1 << 60, 6 + 5 * WALK_INTERVAL_NS, &mut counters),
            None
        );
        assert_eq!(counters.cgroup_walks, 2, "known to be unknown");
        assert_eq!(cgroups.facts(1, 6 + 9 * WALK_INTERVAL_NS, &mut counters), None);
        assert_eq!(counters.cgroup_walks, 2, "the root says nothing");
    }

    #[test]
    fn a_walk_stops_at_its_limit() {
        let (root, _) = tree();
        for i in 0..20 {
            std::fs::create_dir(root.path().join(format!("c{i}"))).unwrap();
        }
        let mut counters = Counters::default();
        let mut cgroups = Cgroups::new(root.path(), 16);
        cgroups.walk_dirs_max = 10;
        assert_eq!(cgroups.facts(1 << 60, 0, &mut counters), None);
        assert_eq!((counters.cgroup_walks, counters.cgroup_walks_cut), (1, 1));
    }

    #[test]
    fn hybrid_set_ups_have_their_own_directory() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("unified/system.slice/nginx.service");
        std::fs::create_dir_all(&unit).unwrap();
        let facts = parse_file(b"0::/system.slice/nginx.service");
        assert_eq!(
            Cgroups::new(root.path(), 16).id_of(&facts),
            inode_of(&unit).unwrap()
        );
    }

    #[test]
    fn evictions_are_counted() {
        let (root, id) = tree();
        let mut counters = Counters::default();
        let mut cgroups = Cgroups::new(root.path(), 1);
        let facts = parse_file(b"0::/system.slice/nginx.service");
        cgroups.learn(id, &facts, &mut counters);
        cgroups.facts(1 << 60, 0, &mut counters);
        assert_eq!(counters.cgroups_evicted, 1);
    }
}
