use super::*;

const ID: &str = "4f3c8a1be2d94a0c9d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c";
const NODE: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";
const UID: &str = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";
const UID_SYSTEMD: &str = "8dbc5577_d0e2_4706_8787_57d52c03ddf2";

/// (case, file, runtime + pod, unit); `ID`, `NODE`, `UID` and `UIDS` are filled in.
type Case = (
    &'static str,
    &'static str,
    Option<(Runtime, bool)>,
    Option<&'static str>,
);

const CASES: &[Case] = &[
    (
        "docker v1 cgroupfs",
        "12:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
        Some((Runtime::Docker, false)),
        None,
    ),
    (
        "docker v1 systemd",
        "12:memory:/system.slice/docker-ID.scope\n1:name=systemd:/system.slice/docker-ID.scope",
        Some((Runtime::Docker, false)),
        None,
    ),
    (
        "docker v2 systemd",
        "0::/system.slice/docker-ID.scope",
        Some((Runtime::Docker, false)),
        None,
    ),
    (
        "docker v2 cgroupfs",
        "0::/docker/ID",
        Some((Runtime::Docker, false)),
        None,
    ),
    (
        "docker rootless",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        Some((Runtime::Docker, false)),
        None,
    ),
    (
        "docker in pod (dockershim)",
        "4:memory:/kubepods/burstable/podUID/ID",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "docker in pod, systemd",
        "4:memory:/kubepods.slice/kubepods-podUIDS.slice/docker-ID.scope",
        Some((Runtime::Docker, true)),
        None,
    ),
    (
        "CRI cgroupfs burstable",
        "0::/kubepods/burstable/podUID/ID",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "CRI cgroupfs guaranteed",
        "0::/kubepods/podUID/ID",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "CRI systemd besteffort",
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUIDS.slice/cri-containerd-ID.scope",
        Some((Runtime::Containerd, true)),
        None,
    ),
    (
        "CRI systemd path on cgroupfs driver",
        "9:cpu:/system.slice/containerd.service/kubepods-burstable-podUIDS.slice:cri-containerd:ID\n1:name=systemd:/system.slice/containerd.service/kubepods-burstable-podUIDS.slice:cri-containerd:ID",
        Some((Runtime::Containerd, true)),
        None,
    ),
    (
        "CRI-O systemd",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUIDS.slice/crio-ID.scope",
        Some((Runtime::CriO, true)),
        None,
    ),
    (
        "CRI-O with crun",
        "0::/kubepods.slice/kubepods-podUIDS.slice/crio-ID.scope/container",
        Some((Runtime::CriO, true)),
        None,
    ),
    (
        "CRI-O cgroupfs",
        "0::/kubepods/besteffort/podUID/crio-ID",
        Some((Runtime::CriO, true)),
        None,
    ),
    (
        "CRI-O conmon",
        "0::/kubepods.slice/kubepods-podUIDS.slice/crio-conmon-ID.scope",
        None,
        None,
    ),
    (
        "podman rootful",
        "0::/machine.slice/libpod-ID.scope",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman rootful, crun",
        "0::/machine.slice/libpod-ID.scope/container",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman pod",
        "0::/machine.slice/machine-libpod_pod_NODE.slice/libpod-ID.scope",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman rootless",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman cgroupfs",
        "3:memory:/libpod_parent/libpod-ID\n0::/",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman split (quadlet)",
        "0::/system.slice/web.service/libpod-payload-ID",
        Some((Runtime::Podman, false)),
        None,
    ),
    (
        "podman conmon",
        "0::/machine.slice/libpod-conmon-ID.scope",
        None,
        None,
    ),
    (
        "podman conmon split",
        "0::/system.slice/web.service/runtime",
        None,
        Some("web.service"),
    ),
    (
        "kind, cgroupfs",
        "0::/docker/NODE/kubelet/kubepods/burstable/podUID/ID",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "kind, systemd",
        "0::/system.slice/docker-NODE.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podUIDS.slice/cri-containerd-ID.scope",
        Some((Runtime::Containerd, true)),
        None,
    ),
    (
        "k3s",
        "0::/kubepods/besteffort/podUID/ID",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "k3s itself",
        "0::/system.slice/k3s.service",
        None,
        Some("k3s.service"),
    ),
    (
        "nerdctl systemd",
        "0::/system.slice/nerdctl-ID.scope",
        Some((Runtime::Containerd, false)),
        None,
    ),
    (
        "nerdctl cgroupfs",
        "7:pids:/default/ID",
        Some((Runtime::Containerd, false)),
        None,
    ),
    (
        "ECS",
        "7:pids:/ecs/cluster/0123456789abcdef0123456789abcdef/ID",
        Some((Runtime::Unknown, false)),
        None,
    ),
    (
        "seen from a cgroup namespace",
        "0::/../cri-containerd-ID.scope",
        Some((Runtime::Containerd, false)),
        None,
    ),
    (
        "seen from a namespace, whole path",
        "0::/../../kubepods-podUIDS.slice/cri-containerd-ID.scope",
        Some((Runtime::Containerd, true)),
        None,
    ),
    (
        "hybrid: only v1 tells",
        "5:memory:/kubepods/podUID/ID\n1:name=systemd:/kubepods/podUID/ID\n0::/",
        Some((Runtime::Unknown, true)),
        None,
    ),
    (
        "service v2",
        "0::/system.slice/nginx.service",
        None,
        Some("nginx.service"),
    ),
    (
        "service in nested slice",
        "0::/system.slice/system-getty.slice/getty@tty1.service",
        None,
        Some("getty@tty1.service"),
    ),
    (
        "service with delegated cgroups",
        "0::/system.slice/app.service/worker.scope",
        None,
        Some("app.service"),
    ),
    (
        "service v1",
        "4:memory:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service",
        None,
        Some("nginx.service"),
    ),
    (
        "service hybrid",
        "4:memory:/\n1:name=systemd:/system.slice/nginx.service\n0::/system.slice/nginx.service",
        None,
        Some("nginx.service"),
    ),
    (
        "escaped",
        r"0::/system.slice/system-systemd\x2dfsck.slice/systemd-fsck@dev-vda1.service",
        None,
        Some("systemd-fsck@dev-vda1.service"),
    ),
    (
        "user service",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
        None,
        Some("web.service"),
    ),
    (
        "user manager",
        "0::/user.slice/user-1000.slice/user@1000.service/init.scope",
        None,
        Some("init.scope"),
    ),
    (
        "login",
        "0::/user.slice/user-1000.slice/session-3.scope",
        None,
        Some("session-3.scope"),
    ),
    (
        "systemd in a container",
        "0::/system.slice/docker-ID.scope/system.slice/nginx.service",
        Some((Runtime::Docker, false)),
        Some("nginx.service"),
    ),
    (
        "deleted",
        "0::/system.slice/docker-ID.scope (deleted)",
        Some((Runtime::Docker, false)),
        None,
    ),
    ("root", "0::/", None, None),
    (
        "other manager",
        "4:memory:/process_api/fa0141d9883ac54d8ec906cd8ac728f6\n1:name=systemd:/\n0::/",
        None,
        None,
    ),
    (
        "pod without container",
        "0::/kubepods/burstable/podUID",
        None,
        None,
    ),
    ("no pod outside Kubernetes", "0::/podUID/web", None, None),
    ("path trick", "0::/kubepods/podUID/..", None, None),
    ("dot id", "0::/kubepods/podUID/.hidden", None, None),
    (
        "unit with a strange character",
        "0::/system.slice/ng\u{202e}inx.service",
        None,
        None,
    ),
    ("not a cgroup file", "garbage\n\n:::\n0:", None, None),
];

#[test]
fn real_world_namings() {
    for (case, text, container, unit) in CASES {
        let text = text
            .replace("UIDS", UID_SYSTEMD)
            .replace("UID", UID)
            .replace("NODE", NODE)
            .replace("ID", ID);
        let facts = parse_file(text.as_bytes());
        let expected = container.map(|(runtime, pod)| Container {
            id: ID.to_owned(),
            runtime,
            pod_uid: pod.then(|| UID.to_owned()),
            ..Container::default()
        });
        assert_eq!(facts.container, expected, "{case}: {text}");
        assert_eq!(facts.unit.as_deref(), *unit, "{case}: {text}");
    }
}

#[test]
fn only_facts_of_the_unified_path_hold_for_its_cgroup() {
    for (text, expected) in [
        ("0::/system.slice/nginx.service".to_owned(), true),
        (format!("0::/docker/{ID}"), true),
        (
            format!("4:memory:/docker/{ID}\n0::/system.slice/containerd.service"),
            false,
        ),
        (format!("4:memory:/docker/{ID}\n0::/"), false),
        ("0::/".to_owned(), false),
        ("4:memory:/a".to_owned(), false),
    ] {
        assert_eq!(parse_file(text.as_bytes()).unified_only, expected, "{text}");
    }
}

#[test]
fn the_path_is_that_of_v2_unless_that_is_the_root() {
    for (text, expected) in [
        ("0::/system.slice/nginx.service", "/system.slice/nginx.service"),
        ("1:name=systemd:/system.slice/nginx.service\n0::/a", "/a"),
        (
            "4:memory:/\n1:name=systemd:/system.slice/nginx.service\n0::/",
            "/system.slice/nginx.service",
        ),
        ("4:memory:/\n0::/", ""),
        ("", ""),
    ] {
        assert_eq!(parse_file(text.as_bytes()).path, expected, "{text}");
    }
    let v1 = format!(
        "9:cpu:/a/very/long/path/indeed/{}\n4:memory:/docker/{ID}\n0::/",
        "x/".repeat(80)
    );
    assert_eq!(parse_file(v1.as_bytes()).path, format!("/docker/{ID}"));
}

#[test]
fn logins_and_generated_scopes_are_no_workloads() {
    for (unit, expected) in [
        ("nginx.service", true),
        ("app@1.service", true),
        ("machine-foo.scope", true),
        ("run-parts.service", true),
        ("session-3.scope", false),
        ("user@1000.service", false),
        ("init.scope", false),
        ("run-rd41d8cd98f00b204.scope", false),
        ("run-u123.service", false),
        ("run-p123-i456.scope", false),
        ("vte-spawn-8dbc5577.scope", false),
        ("dbus.socket", false),
        ("nginx", false),
    ] {
        assert_eq!(is_workload_unit(unit), expected, "{unit}");
    }
}

#[test]
fn hostile_files_are_harmless() {
    let long = format!("0::/{}", "docker/".repeat(100_000));
    assert_eq!(parse_file(long.as_bytes()), CgroupFacts::default());
    assert_eq!(parse_file(b"0::/\xff\xfe/docker"), CgroupFacts::default());
    assert_eq!(
        parse_file(b"0::/kubepods/pod\n/x"),
        CgroupFacts {
            unified_path: Some("/kubepods/pod".into()),
            path: "/kubepods/pod".into(),
            unified_only: true,
            ..CgroupFacts::default()
        }
    );
    let id = "a".repeat(ID_BYTES_MAX + 1);
    assert!(parse_path(&format!("/docker-{id}.scope")).container.is_none());
}
