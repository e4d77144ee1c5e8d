use std::io::Write;

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path())).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_valid_and_the_example_shows_them() {
    assert_eq!(load("").unwrap(), Config::default());
    let example = include_str!("../../../deploy/eastwatch-agent.toml");
    assert_eq!(load(example).unwrap(), Config::default());
    // Every key is in it, also those without a default.
    for key in [
        "name",
        "url",
        "dir",
        "provider",
        "ring_bytes",
        "socket",
        "listen",
        "level",
        "cpu_percent",
        "review_seconds",
        "linger_seconds",
        "connections",
    ] {
        assert!(example.contains(key), "{key}");
    }
}

#[test]
fn errors_name_key_and_remedy() {
    for (text, parts) in [
        (
            "[capture]\nring_byts = 4096",
            ["ring_byts", "eastwatch-agent.toml"],
        ),
        (
            "[capture]\nring_bytes = 5000",
            ["capture.ring_bytes = 5000", "power of two"],
        ),
        ("[capture]\nprovider = \"magic\"", ["provider", "magic"]),
        (
            "[metrics]\nlisten = \"0.0.0.0:1\"",
            ["metrics.listen", "loopback"],
        ),
        (
            "[capture]\nreconcile_seconds = 0",
            ["capture.reconcile_seconds", "1 to 3600"],
        ),
        (
            "[capture.decay]\nafter = 0",
            ["capture.decay.after = 0", "1 to 1000000"],
        ),
        (
            "[capture.decay]\nmost = 1",
            ["capture.decay.most = 1", "2 to 4096"],
        ),
        (
            "[capture.decay]\nreview_seconds = 0",
            ["capture.decay.review_seconds = 0", "1 to 86400"],
        ),
        (
            "[capture.tls]\nprocesses_max = 0",
            ["capture.tls.processes_max = 0", "1 to 4194304"],
        ),
        (
            "[capture.tls]\nfiles_max = 1048577",
            ["capture.tls.files_max = 1048577", "1 to 1048576"],
        ),
        (
            "[capture.tls]\nlibraries_max = 0",
            ["capture.tls.libraries_max = 0", "1 to 65536"],
        ),
        (
            "[capture.tls]\nlinger_seconds = 86401",
            ["capture.tls.linger_seconds = 86401", "0 to 86400"],
        ),
        (
            "[capture]\nstates_max = 63",
            ["capture.states_max = 63", "64 to 1048576"],
        ),
        (
            "[capture]\nthreads_max = 0",
            ["capture.threads_max = 0", "1 to 1048576"],
        ),
        (
            "[capture]\ntls_sessions_max = 0",
            ["capture.tls_sessions_max = 0", "1 to 1048576"],
        ),
        ("[limits]\nconnections = 0", ["limits.connections", "at least 1"]),
        ("[harm]\ncpu_percent = -1", ["harm.cpu_percent = -1", "0 to 100"]),
        (
            "[harm]\ncore_percent = nan",
            ["harm.core_percent = NaN", "0 to 100"],
        ),
        ("[harm]\ncalm_s = 0", ["harm.calm_s = 0", "1 to 3600"]),
    ] {
        let error = load(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = Config::load(Some(Path::new("/no/such/file")))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/no/such/file") && error.contains("--config"),
        "{error}"
    );
}
