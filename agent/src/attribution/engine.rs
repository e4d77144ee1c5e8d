//! Names of containers, from the state that the engines keep on disk. No socket is asked.
//!
//! Rootless Podman keeps its state in users' homes, so every file may be hostile: reads are bounded, never block (no FIFO, no
//! device), never follow a link at the end, and ids were checked to be plain names before they become part of a path.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde::Deserialize;

use super::cgroup::is_id;
use super::text::clean;
use super::types::{Container, Runtime};

/// An OCI config is about 10 KB; Docker's with many labels 100 KB; Podman's list of all containers more.
const STATE_BYTES_MAX: u64 = 2 << 20;
/// Kubernetes names have at most 253 characters.
const NAME_BYTES_MAX: usize = 253;

/// OCI runtime configs, by engine: path before the id, path after it.
const OCI_CONFIGS: [(&str, &str, Runtime); 8] = [
    (
        "run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
        Runtime::Containerd,
    ),
    (
        "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
        Runtime::Containerd,
    ),
    (
        "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
        Runtime::Containerd,
    ),
    (
        "run/containerd/io.containerd.runtime.v2.task/default",
        "config.json",
        Runtime::Containerd,
    ),
    (
        "run/containers/storage/overlay-containers",
        "userdata/config.json",
        Runtime::Unknown,
    ),
    (
        "var/lib/containers/storage/overlay-containers",
        "userdata/config.json",
        Runtime::Unknown,
    ),
    (
        "run/containers/storage/vfs-containers",
        "userdata/config.json",
        Runtime::Unknown,
    ),
    (
        "var/lib/containers/storage/vfs-containers",
        "userdata/config.json",
        Runtime::Unknown,
    ),
];
const DOCKER_CONFIGS: &str = "var/lib/docker/containers";
const PODMAN_LISTS: [&str; 2] = [
    "overlay-containers/containers.json",
    "vfs-containers/containers.json",
];
const PODMAN_SYSTEM_STORE: &str = "var/lib/containers/storage";
const PODMAN_USER_STORE: &str = ".local/share/containers/storage";

/// Annotations and labels that name things, in order of preference.
const CONTAINER_NAMES: [&str; 3] = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
    "nerdctl/name",
];
const POD_NAMES: [&str; 2] = ["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const POD_NAMESPACES: [&str; 2] = [
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.pod.namespace",
];
const POD_UIDS: [&str; 2] = ["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
const MANAGER: &str = "io.container.manager";

#[derive(Deserialize)]
struct OciConfig {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    name: String,
    #[serde(default)]
    config: DockerInner,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerInner {
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct PodmanContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// Completes what the cgroup says of a container. `root` is the node's file system, `home` that of the container's user.
pub(super) fn complete(mut container: Container, root: &Path, home: Option<&Path>) -> Container {
    if !is_id(&container.id) {
        return container;
    }
    for (before, after, runtime) in OCI_CONFIGS {
        let path = root.join(before).join(&container.id).join(after);
        if let Some(OciConfig { annotations }) = read_json(&path) {
            let runtime = match annotations.get(MANAGER).map(String::as_str) {
                Some("libpod") => Runtime::Podman,
                Some("cri-o") => Runtime::CriO,
                _ => runtime,
            };
            apply(&mut container, runtime, &annotations);
            break;
        }
    }
    if container.name.is_none() {
        let path = root
            .join(DOCKER_CONFIGS)
            .join(&container.id)
            .join("config.v2.json");
        if let Some(DockerConfig { name, config }) = read_json(&path) {
            apply(
                &mut container,
                Runtime::Docker,
                &config.labels.unwrap_or_default(),
            );
            container.name = container.name.or_else(|| named(name.trim_start_matches('/')));
        }
    }
    if container.name.is_none() && matches!(container.runtime, Runtime::Podman | Runtime::Unknown) {
        container.name = podman_name(&container.id, root, home);
    }
    container
}

fn apply(container: &mut Container, runtime: Runtime, labels: &HashMap<String, String>) {
    let first = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| labels.get(*key))
            .and_then(|value| named(value))
    };
    if runtime != Runtime::Unknown {
        container.runtime = runtime;
    }
    container.name = first(&CONTAINER_NAMES);
    container.pod_name = first(&POD_NAMES);
    container.namespace = first(&POD_NAMESPACES);
    container.pod_uid = container.pod_uid.take().or_else(|| first(&POD_UIDS));
}

fn podman_name(id: &str, root: &Path, home: Option<&Path>) -> Option<String> {
    // A home is a path on the node; it is looked up below the root as seen from here.
    let home = home.map(|home| {
        root.join(home.strip_prefix("/").unwrap_or(home))
            .join(PODMAN_USER_STORE)
    });
    let stores: Vec<PathBuf> = std::iter::once(root.join(PODMAN_SYSTEM_STORE))
        .chain(home)
        .collect();
    stores
        .iter()
        .flat_map(|store| PODMAN_LISTS.map(|list| store.join(list)))
        .find_map(|path| {
            let list: Vec<PodmanContainer> = read_json(&path)?;
            let found = list.into_iter().find(|container| container.id == id)?;
            named(found.names.first()?)
        })
}

fn named(name: &str) -> Option<String> {
    let name = clean(name.as_bytes(), NAME_BYTES_MAX);
    (!name.is_empty()).then_some(name)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(STATE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f3c8a1be2d94a0c9d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c";

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path.replace("ID", ID));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("ID", ID)).unwrap();
    }

    fn look(root: &Path, runtime: Runtime) -> Container {
        let container = Container {
            id: ID.to_owned(),
            runtime,
            ..Container::default()
        };
        complete(container, root, Some(Path::new("/home/al")))
    }

    #[test]
    fn every_engine() {
        let cri = r#"{"ociVersion":"1","annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"shop-0","io.kubernetes.cri.sandbox-namespace":"prod","io.kubernetes.cri.sandbox-uid":"u-1"},"process":{"env":["SECRET=1"]}}"#;
        let crio = r#"{"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"web","io.kubernetes.pod.name":"shop-0","io.kubernetes.pod.namespace":"prod","io.kubernetes.pod.uid":"u-1"}}"#;
        let pod = (Some("web"), Some("shop-0"), Some("prod"), Some("u-1"));
        let bare = (Some("web"), None, None, None);
        for (path, text, runtime, expected) in [
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                cri,
                Runtime::Containerd,
                pod,
            ),
            (
                "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                cri,
                Runtime::Containerd,
                pod,
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json",
                r#"{"annotations":{"nerdctl/name":"web"}}"#,
                Runtime::Containerd,
                bare,
            ),
            (
                "var/lib/containers/storage/overlay-containers/ID/userdata/config.json",
                crio,
                Runtime::CriO,
                pod,
            ),
            (
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"Name":"/web","Config":{"Labels":null}}"#,
                Runtime::Docker,
                bare,
            ),
            (
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"Name":"/k8s_web","Config":{"Labels":{"io.kubernetes.container.name":"web","io.kubernetes.pod.name":"shop-0","io.kubernetes.pod.namespace":"prod","io.kubernetes.pod.uid":"u-1"}}}"#,
                Runtime::Docker,
                pod,
            ),
            (
                "var/lib/containers/storage/overlay-containers/containers.json",
                r#"[{"id":"x","names":["no"]},{"id":"ID","names":["web"]}]"#,
                Runtime::Podman,
                bare,
            ),
            (
                "home/al/.local/share/containers/storage/vfs-containers/containers.json",
                r#"[{"id":"ID","names":["web"]}]"#,
                Runtime::Podman,
                bare,
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            put(root.path(), path, text);
            let given = if runtime == Runtime::Podman {
                runtime
            } else {
                Runtime::Unknown
            };
            let found = look(root.path(), given);
            assert_eq!(found.runtime, runtime, "{path}");
            let names = (
                found.name.as_deref(),
                found.pod_name.as_deref(),
                found.namespace.as_deref(),
                found.pod_uid.as_deref(),
            );
            assert_eq!(names, expected, "{path}");
        }
    }

    #[test]
    fn hostile_state_is_harmless() {
        let list = "home/al/.local/share/containers/storage/overlay-containers/containers.json";
        for text in [
            "",
            "{",
            "[]",
            "[1]",
            r#"[{"id":"ID"}]"#,
            r#"[{"id":"ID","names":[""]}]"#,
            &"[".repeat(100_000),
        ] {
            let root = tempfile::tempdir().unwrap();
            put(root.path(), list, text);
            assert_eq!(look(root.path(), Runtime::Podman).name, None, "{:.20}", text);
        }
        let root = tempfile::tempdir().unwrap();
        put(root.path(), list, r#"[{"id":"ID","names":["a\u001b[2J\nb"]}]"#);
        assert_eq!(
            look(root.path(), Runtime::Podman).name.unwrap(),
            "a\u{fffd}[2J\u{fffd}b"
        );
        let long = format!(r#"[{{"id":"ID","names":["{}"]}}]"#, "n".repeat(4096));
        put(root.path(), list, &long);
        assert_eq!(
            look(root.path(), Runtime::Podman).name.unwrap().len(),
            NAME_BYTES_MAX
        );
    }

    #[test]
    fn neither_links_nor_pipes_nor_large_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        let list = root
            .path()
            .join("home/al/.local/share/containers/storage/overlay-containers/containers.json");
        let good = format!(r#"[{{"id":"{ID}","names":["web"]}}]"#);
        put(root.path(), "real.json", &good);
        std::fs::create_dir_all(list.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(root.path().join("real.json"), &list).unwrap();
        assert_eq!(look(root.path(), Runtime::Podman).name, None);
        std::fs::remove_file(&list).unwrap();
        nix::unistd::mkfifo(&list, Mode::S_IRWXU).unwrap();
        assert_eq!(look(root.path(), Runtime::Podman).name, None);
        std::fs::remove_file(&list).unwrap();
        let padding = " ".repeat(usize::try_from(STATE_BYTES_MAX).unwrap() - good.len());
        std::fs::write(&list, format!("{padding}{good}")).unwrap();
        assert_eq!(
            look(root.path(), Runtime::Podman).name.as_deref(),
            Some("web"),
            "at the limit"
        );
        std::fs::write(&list, format!("{padding} {good}")).unwrap();
        assert_eq!(look(root.path(), Runtime::Podman).name, None, "beyond the limit");
    }

    #[test]
    fn an_id_is_never_a_way_out() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "var/lib/docker/x/config.v2.json",
            r#"{"Name":"/no"}"#,
        );
        std::fs::create_dir_all(root.path().join(DOCKER_CONFIGS)).unwrap();
        let container = Container {
            id: "../x".to_owned(),
            ..Container::default()
        };
        assert_eq!(complete(container.clone(), root.path(), None), container);
    }
}
