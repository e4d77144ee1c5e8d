//! The workloads of the node: what a process belongs to, by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::WORKLOAD_NAME_BYTES_MAX;
use super::cgroup::is_workload_unit;
use super::counters::Counters;
use super::lru::Lru;
use super::text::clean;
use super::types::{Container, ProcessKey, Workload, WorkloadKind};

/// A workload that goes on being seen is announced again after this, ns.
const ANNOUNCE_INTERVAL_NS: u64 = 60_000_000_000;
/// Characters of a container id that people use.
const SHORT_ID_CHARS: usize = 12;

/// A process, as far as its workload is concerned.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) key: ProcessKey,
    pub(super) executable: &'a str,
    pub(super) command: &'a str,
    pub(super) program: &'a str,
    pub(super) user: &'a str,
    pub(super) container: Option<&'a Arc<Container>>,
    pub(super) unit: Option<&'a str>,
    pub(super) cgroup_id: u64,
    pub(super) netns: u32,
}

/// All workloads, bounded.
#[derive(Debug)]
pub(super) struct Workloads {
    by_name: Lru<(WorkloadKind, String), Entry>,
}

#[derive(Debug)]
struct Entry {
    workload: Arc<Workload>,
    described: ProcessKey,
    described_lives: bool,
    changed: bool,
    announced_ns: u64,
}

impl Workloads {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_name: Lru::new(limit),
        }
    }

    /// The workload of a process, made or described anew where that is due.
    pub(super) fn of(&mut self, member: &Member<'_>, now_ns: u64, counters: &mut Counters) -> Arc<Workload> {
        let (kind, name) = name_of(member);
        let key = (kind, name);
        if let Some(entry) = self.by_name.get(&key) {
            entry.workload.seen_ns.fetch_max(now_ns, Ordering::Relaxed);
            let same_process = entry.described == member.key;
            if (same_process || !entry.described_lives) && !describes(&entry.workload, member) {
                let seen_ns = Arc::clone(&entry.workload.seen_ns);
                entry.workload = Arc::new(make(&key, member, entry.workload.first_seen_ns, seen_ns));
                entry.changed = true;
            }
            if !entry.described_lives {
                (entry.described, entry.described_lives) = (member.key, true);
            }
            return Arc::clone(&entry.workload);
        }
        let workload = Arc::new(make(&key, member, now_ns, Arc::new(AtomicU64::new(now_ns))));
        let entry = Entry {
            workload: Arc::clone(&workload),
            described: member.key,
            described_lives: true,
            changed: true,
            announced_ns: now_ns,
        };
        counters.workloads_evicted += self.by_name.insert(key, entry).len() as u64;
        workload
    }

    /// The process has ended: another one of its workload may stand for it.
    pub(super) fn ended(&mut self, workload: &Workload, key: ProcessKey) {
        if let Some(entry) = self.by_name.get(&(workload.kind, workload.name.clone())) {
            entry.described_lives &= entry.described != key;
        }
    }

    /// Those that are new, described anew, or seen again a minute after they were last taken.
    pub(super) fn take_changed(&mut self) -> Vec<Arc<Workload>> {
        let mut changed = Vec::new();
        for entry in self.by_name.values_mut() {
            let seen_ns = entry.workload.seen_ns();
            if entry.changed || seen_ns.saturating_sub(entry.announced_ns) >= ANNOUNCE_INTERVAL_NS {
                entry.changed = false;
                entry.announced_ns = seen_ns;
                changed.push(Arc::clone(&entry.workload));
            }
        }
        changed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        changed
    }
}

fn make(
    key: &(WorkloadKind, String),
    member: &Member<'_>,
    first_seen_ns: u64,
    seen_ns: Arc<AtomicU64>,
) -> Workload {
    Workload {
        name: key.1.clone(),
        kind: key.0,
        executable: member.executable.to_owned(),
        command: member.command.to_owned(),
        user: member.user.to_owned(),
        container: member.container.cloned(),
        unit: member.unit.map(str::to_owned),
        cgroup_id: member.cgroup_id,
        netns: member.netns,
        pid: member.key.pid,
        first_seen_ns,
        seen_ns,
    }
}

fn describes(workload: &Workload, member: &Member<'_>) -> bool {
    workload.executable == member.executable
        && workload.command == member.command
        && workload.user == member.user
        && workload.container.as_ref() == member.container
        && workload.unit.as_deref() == member.unit
        && (workload.cgroup_id, workload.netns, workload.pid)
            == (member.cgroup_id, member.netns, member.key.pid)
}

fn name_of(member: &Member<'_>) -> (WorkloadKind, String) {
    let (kind, name) = if let Some(container) = member.container {
        (WorkloadKind::Container, container_name(container))
    } else if let Some(unit) = member.unit.filter(|unit| is_workload_unit(unit)) {
        (WorkloadKind::Systemd, unit.to_owned())
    } else {
        (WorkloadKind::Process, member.program.to_owned())
    };
    (kind, clean(name.as_bytes(), WORKLOAD_NAME_BYTES_MAX))
}

fn container_name(container: &Container) -> String {
    let Some(name) = container.name.as_deref() else {
        return container.id.chars().take(SHORT_ID_CHARS).collect();
    };
    match (
        container.namespace.as_deref(),
        container.pod_name.as_deref().map(pod_owner),
    ) {
        (Some(namespace), Some(owner)) if owner == name => format!("{namespace}/{owner}"),
        (Some(namespace), Some(owner)) => format!("{namespace}/{owner}/{name}"),
        _ => name.to_owned(),
    }
}

/// Name of a pod without what its controller generated. Kubernetes draws generated suffixes of five characters from
/// `bcdfghjklmnpqrstvwxz2456789`; hashes of pod templates are decimal digits mapped into it, so they use ten of these.
fn pod_owner(pod: &str) -> &str {
    let all = |text: &str, set: &str| !text.is_empty() && text.chars().all(|c| set.contains(c));
    let Some((owner, last)) = pod.rsplit_once('-').filter(|(owner, _)| !owner.is_empty()) else {
        return pod;
    };
    if last.len() <= 4 && all(last, "0123456789") {
        return owner;
    }
    if last.len() != 5 || !all(last, "bcdfghjklmnpqrstvwxz2456789") {
        return pod;
    }
    match owner.rsplit_once('-').filter(|(name, _)| !name.is_empty()) {
        Some((name, hash)) if (6..=10).contains(&hash.len()) && all(hash, "456789bcdf") => name,
        // A CronJob's Job is named after its minute since 1970.
        Some((name, minute)) if minute.len() >= 8 && all(minute, "0123456789") => name,
        _ => owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(
        pid: u32,
        program: &'a str,
        unit: Option<&'a str>,
        container: Option<&'a Arc<Container>>,
    ) -> Member<'a> {
        let key = ProcessKey { pid, start_ns: 1 };
        Member {
            key,
            executable: "/x",
            command: "x",
            program,
            user: "u",
            container,
            unit,
            cgroup_id: 2,
            netns: 3,
        }
    }

    #[test]
    fn names_container_then_unit_then_program() {
        let id = "4f3c8a1be2d94a0c9d7e6f5a4b3c2d1e";
        let text = |s: &str| Some(s.to_owned());
        let bare = Arc::new(Container {
            id: id.to_owned(),
            ..Container::default()
        });
        let named = Arc::new(Container {
            name: text("web"),
            ..(*bare).clone()
        });
        let pod = |pod: &str| {
            Arc::new(Container {
                pod_name: text(pod),
                namespace: text("prod"),
                ..(*named).clone()
            })
        };
        let (shop, web) = (pod("shop-7d4b9c6f5-x2x9k"), pod("web-0"));
        let long = "n".repeat(4096);
        for (container, unit, program, kind, name) in [
            (
                Some(&bare),
                Some("a.service"),
                "p",
                WorkloadKind::Container,
                "4f3c8a1be2d9",
            ),
            (Some(&named), None, "p", WorkloadKind::Container, "web"),
            (Some(&shop), None, "p", WorkloadKind::Container, "prod/shop/web"),
            (Some(&web), None, "p", WorkloadKind::Container, "prod/web"),
            (
                None,
                Some("nginx.service"),
                "p",
                WorkloadKind::Systemd,
                "nginx.service",
            ),
            (
                None,
                Some("session-3.scope"),
                "python3:app.py",
                WorkloadKind::Process,
                "python3:app.py",
            ),
            (
                None,
                Some("user@1000.service"),
                "node:a.js",
                WorkloadKind::Process,
                "node:a.js",
            ),
            (
                None,
                None,
                long.as_str(),
                WorkloadKind::Process,
                &long[..WORKLOAD_NAME_BYTES_MAX],
            ),
        ] {
            assert_eq!(
                name_of(&member(1, program, unit, container)),
                (kind, name.to_owned())
            );
        }
    }

    #[test]
    fn pods_by_their_controller() {
        for (pod, owner) in [
            ("web-7d4b9c6f5-x2x9k", "web"),
            ("web-x2x9k", "web"),
            ("db-0", "db"),
            ("backup-28912345-x2x9k", "backup"),
            ("api-first", "api-first"),
            ("my-api", "my-api"),
            ("web", "web"),
            ("-0", "-0"),
            ("", ""),
        ] {
            assert_eq!(pod_owner(pod), owner, "{pod}");
        }
    }

    #[test]
    fn announced_when_new_changed_or_still_there_after_a_minute() {
        let mut counters = Counters::default();
        let mut workloads = Workloads::new(16);
        let first = member(1, "p", None, None);
        let workload = workloads.of(&first, 10, &mut counters);
        assert_eq!(workloads.take_changed().len(), 1);
        workloads.of(&member(2, "p", None, None), 20, &mut counters);
        assert!(
            workloads.take_changed().is_empty(),
            "another process of it is no change"
        );
        workloads.ended(&workload, first.key);
        workloads.of(&member(2, "p", None, None), 30, &mut counters);
        let changed = workloads.take_changed();
        assert_eq!(
            (
                changed.len(),
                changed[0].pid,
                changed[0].first_seen_ns,
                changed[0].seen_ns()
            ),
            (1, 2, 10, 30)
        );
        workloads.of(
            &member(2, "p", None, None),
            29 + ANNOUNCE_INTERVAL_NS,
            &mut counters,
        );
        assert!(workloads.take_changed().is_empty());
        workload
            .seen_ns
            .fetch_max(30 + ANNOUNCE_INTERVAL_NS, Ordering::Relaxed);
        assert_eq!(workloads.take_changed().len(), 1, "an old handle keeps it seen");
    }

    #[test]
    fn at_the_limit_workloads_are_forgotten_and_announced_again() {
        let mut counters = Counters::default();
        let mut workloads = Workloads::new(2);
        for program in ["a", "b", "c", "a"] {
            workloads.of(&member(1, program, None, None), 1, &mut counters);
        }
        assert_eq!(counters.workloads_evicted, 2);
        let names: Vec<String> = workloads.take_changed().iter().map(|w| w.name.clone()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
