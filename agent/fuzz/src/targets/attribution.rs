//! Processes as strangers may name them: programs, arguments, names.

use eastwatch_agent::attribution::{Attribution, ExecFacts, Options, ProcessHint, WORKLOAD_NAME_BYTES_MAX};

use crate::input::Input;

/// Execs of a few processes: pid, then file name and arguments with their lengths.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let nowhere = || "/nowhere".into();
    let mut attribution = Attribution::new(Options {
        proc_root: nowhere(),
        cgroup_root: nowhere(),
        state_root: nowhere(),
        passwd: nowhere(),
        ..Options::default()
    });
    let mut now_ns = 0;
    while !input.is_empty() {
        now_ns += 1;
        let options = input.byte();
        let mut comm = [0; 16];
        let name = input.bytes(usize::from(options >> 4));
        comm.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        let hint = ProcessHint {
            pid: u32::from(options & 7) + 1,
            start_ns: 1,
            ppid: u32::from(options >> 3 & 3),
            comm,
            ..ProcessHint::default()
        };
        let len = usize::from(input.byte());
        let filename = input.bytes(len).to_vec();
        let len = usize::from(input.byte());
        let args = input.bytes(len).to_vec();
        attribution.exec(&ExecFacts { hint, filename, args });
        let process = attribution.process(&hint, now_ns);
        let name = &process.workload.name;
        assert!(
            name.len() <= WORKLOAD_NAME_BYTES_MAX && !name.chars().any(char::is_control),
            "{name:?}"
        );
    }
}
