//! `/proc/PID/cgroup` → container and systemd unit. Pure: text in, facts out.
//!
//! Names as the engines write them (cgroupfs and systemd driver):
//! - Docker: `/docker/ID`, `/system.slice/docker-ID.scope`, rootless below `user@N.service`
//! - containerd: `…/podUID/ID`, `…-podUID.slice/cri-containerd-ID.scope`, `…:cri-containerd:ID`, `nerdctl-ID.scope`, `/default/ID`
//! - CRI-O: `…/crio-ID`, `…/crio-ID.scope[/container]`
//! - Podman: `libpod-ID[.scope][/container]`, `libpod-payload-ID`
//!
//! The innermost container counts, so a container in a container (kind, Docker in Docker) is itself and not its node. A
//! process that may create cgroups below its own can thereby choose its name; engines let only privileged ones do so.

use super::types::{Container, Runtime};

/// Longest cgroup path looked at; the kernel's own limit is `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;
/// Longest id taken: engines use 64 hex digits.
const ID_BYTES_MAX: usize = 128;
/// Longest unit name, systemd's `UNIT_NAME_MAX`.
const UNIT_BYTES_MAX: usize = 255;

/// What the cgroup memberships of a process say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupFacts {
    /// Innermost container: id, engine, pod uid. Names are not in the cgroup.
    pub(super) container: Option<Container>,
    /// systemd unit of the innermost manager.
    pub(super) unit: Option<String>,
    /// Path in the v2 hierarchy.
    pub(super) unified_path: Option<String>,
    /// That path, or where it is the root the v1 path that the other facts come from; empty when there is none.
    pub(super) path: String,
    /// The facts follow from the v2 path alone, so they hold for every process of that cgroup.
    pub(super) unified_only: bool,
}

/// Reads the whole file: `ID:CONTROLLERS:PATH` per line (cgroups(7)).
pub(super) fn parse_file(text: &[u8]) -> CgroupFacts {
    let mut unified = None;
    let mut named_systemd = None;
    let mut controllers = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if path.len() > PATH_BYTES_MAX {
            continue;
        }
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if id == "0" && names.is_empty() {
            unified = Some(path);
        } else if names == "name=systemd" {
            named_systemd = Some(path);
        } else {
            controllers.push(path);
        }
    }
    let from_unified = unified.map(parse_path).unwrap_or_default();
    let others = || named_systemd.into_iter().chain(controllers.iter().copied());
    let unified_path = unified.map(str::to_owned);
    if from_unified.container.is_some() {
        return CgroupFacts {
            path: unified.unwrap_or_default().to_owned(),
            unified_path,
            unified_only: true,
            ..from_unified
        };
    }
    // A pod uid may stand on one line and not on another: prefer the fullest line.
    let fullest = others()
        .filter_map(|path| Some((path, parse_path(path).container?)))
        .max_by_key(|(_, c)| (c.pod_uid.is_some(), c.runtime != Runtime::Unknown));
    let (path, container) = fullest.unzip();
    let from_v1 = container.is_some();
    let unit = match named_systemd.map(parse_path) {
        _ if from_unified.unit.is_some() && !from_v1 => from_unified.unit,
        Some(facts) => facts.unit,
        None => None,
    };
    let in_a_cgroup = unified.is_some_and(|path| path != "/");
    let path = unified
        .filter(|path| *path != "/")
        .or(path)
        .or_else(|| others().max_by_key(|path| path.len()))
        .filter(|path| *path != "/")
        .unwrap_or_default()
        .to_owned();
    CgroupFacts {
        path,
        container,
        unit,
        unified_path,
        unified_only: in_a_cgroup && !from_v1,
    }
}

/// Reads one path of one hierarchy.
pub(super) fn parse_path(path: &str) -> CgroupFacts {
    let mut facts = CgroupFacts::default();
    let mut pod_uid: Option<String> = None;
    let mut in_kubernetes = false;
    let mut directly_in_pod = false;
    let mut parent = "";
    for segment in path.split('/').filter(|s| !s.is_empty() && *s != "..") {
        in_kubernetes |= segment.contains("kubepods");
        // containerd with a systemd-style path on the cgroupfs driver: SLICE:PREFIX:ID.
        let (segment, joined_id) = match segment
            .split_once(':')
            .map(|(slice, rest)| (slice, rest.rsplit_once(':')))
        {
            Some((slice, Some((prefix, id)))) => (slice, Some((prefix, id))),
            _ => (segment, None),
        };
        let pod = if in_kubernetes { pod_uid_of(segment) } else { None };
        let found = match joined_id {
            Some((prefix, id)) if is_id(id) => Some((runtime_of_prefix(prefix), id)),
            _ if pod.is_some() => None,
            _ => container_of(segment, parent, directly_in_pod),
        };
        if let Some(uid) = pod {
            pod_uid = Some(uid);
            directly_in_pod = true;
        } else {
            directly_in_pod = false;
        }
        if let Some((runtime, id)) = found {
            let runtime = if runtime == Runtime::Unknown && parent == "docker" {
                Runtime::Docker
            } else {
                runtime
            };
            facts.container = Some(Container {
                id: id.to_owned(),
                runtime,
                pod_uid: pod_uid.clone(),
                ..Container::default()
            });
            // What lies outside the container is the engine's or the node's unit, not the container's.
            facts.unit = None;
        } else if is_unit(segment) && !is_engine_helper(segment) {
            facts.unit = match facts.unit.take() {
                // The first unit below a manager counts; below `user@N.service` another manager begins.
                Some(outer) if !is_user_manager(&outer) => Some(outer),
                _ => Some(segment.to_owned()),
            };
        }
        parent = segment;
    }
    facts
}

/// True for units that are a login, a user's manager, the manager itself, or a transient scope with a generated name: a
/// service is not recognised by them.
pub(super) fn is_workload_unit(unit: &str) -> bool {
    let (stem, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let generated = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            let rest = rest.strip_prefix(['r', 'u', 'p']).unwrap_or(rest);
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() || b == b'-' || b == b'i')
        })
    };
    match suffix {
        "service" => !is_user_manager(unit) && !generated("run-") && !stem.starts_with("user-runtime-dir@"),
        "scope" => {
            stem != "init"
                && !stem.starts_with("session-")
                && !generated("run-")
                && !stem.starts_with("vte-spawn-")
                && !stem.starts_with("tmux-spawn-")
        }
        _ => false,
    }
}

fn is_user_manager(unit: &str) -> bool {
    unit.starts_with("user@") && unit.ends_with(".service")
}

/// Processes run in services and scopes; the other unit types either hold none or only helpers.
fn is_unit(segment: &str) -> bool {
    segment.len() <= UNIT_BYTES_MAX
        && [".service", ".scope", ".socket", ".mount", ".swap"]
            .iter()
            .any(|s| segment.len() > s.len() && segment.ends_with(s))
        && segment
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

/// The engines' own supervisors live beside the container, in scopes named almost like it.
fn is_engine_helper(segment: &str) -> bool {
    segment.starts_with("crio-conmon-") || segment.starts_with("libpod-conmon-")
}

fn container_of<'a>(segment: &'a str, parent: &str, directly_in_pod: bool) -> Option<(Runtime, &'a str)> {
    if is_engine_helper(segment) {
        return None;
    }
    let bare = segment.strip_suffix(".scope").unwrap_or(segment);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix) {
            return (is_hex_id(id) || (directly_in_pod && is_id(id))).then_some((runtime, id));
        }
    }
    let namespaced = matches!(parent, "docker" | "default" | "k8s.io" | "moby" | "buildkit");
    if is_full_id(segment) || (namespaced && is_hex_id(segment)) {
        let runtime = match parent {
            "docker" | "moby" => Runtime::Docker,
            "default" | "k8s.io" => Runtime::Containerd,
            _ => Runtime::Unknown,
        };
        return Some((runtime, segment));
    }
    (directly_in_pod && is_id(segment) && !is_unit(segment)).then_some((Runtime::Unknown, segment))
}

/// Longest first where one is the beginning of another.
const PREFIXES: [(&str, Runtime); 6] = [
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("docker-", Runtime::Docker),
];

fn runtime_of_prefix(prefix: &str) -> Runtime {
    PREFIXES
        .iter()
        .find(|(p, _)| p.strip_suffix('-') == Some(prefix))
        .map_or(Runtime::Unknown, |(_, r)| *r)
}

/// `pod<uid>` (cgroupfs) or `kubepods[-qos]-pod<uid_with_underscores>.slice` (systemd).
fn pod_uid_of(segment: &str) -> Option<String> {
    let uid = match segment.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid)?,
        None => segment.strip_prefix("pod")?,
    };
    let valid = !uid.is_empty()
        && uid.len() <= 64
        && uid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    valid.then(|| uid.replace('_', "-"))
}

fn is_full_id(id: &str) -> bool {
    id.len() == 64 && is_hex_id(id)
}

fn is_hex_id(id: &str) -> bool {
    (12..=ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// An id that can be part of a path: no separators, no leading dot.
pub(super) fn is_id(id: &str) -> bool {
    id.len() <= ID_BYTES_MAX
        && id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
