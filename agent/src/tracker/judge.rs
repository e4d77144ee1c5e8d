//! Whether the policy captures a connection, and how much else it leaves out with it.

use policy::{Decision, Filter, FilterPolicy, Subject};

use crate::attribution::Process;

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Capture the connection.
    Capture,
    /// Leave the connection out.
    Connection,
    /// Leave every connection of the process out.
    Process,
    /// Leave every connection of every process of its control group out.
    Group {
        /// Control group.
        cgroup: u64,
    },
}

/// A filter policy.
#[derive(Debug)]
pub struct Judge {
    policy: FilterPolicy,
    /// The policy as far as it holds for any program.
    any_program: FilterPolicy,
}

impl Judge {
    /// By this policy.
    pub fn new(policy: FilterPolicy) -> Self {
        let of_any = |filter: &&Filter| filter.executable.is_none();
        let for_any = |filter: &Filter| Filter {
            executable: None,
            ..filter.clone()
        };
        let any_program = FilterPolicy {
            exclude: policy.exclude.iter().filter(of_any).cloned().collect(),
            include: policy.include.iter().map(for_any).collect(),
        };
        Self { policy, any_program }
    }

    /// Judges a connection of a process; `port` is that of the end that serves, if it has one.
    pub fn judge(&self, process: &Process, port: Option<u16>) -> Verdict {
        let process_only = subject(process);
        let subject = Subject { port, ..process_only };
        if self.policy.captures(&subject) {
            return Verdict::Capture;
        }
        if self.policy.decide(&process_only) != Decision::Ignore {
            return Verdict::Connection;
        }
        match own_group(process) {
            Some(cgroup) if self.any_program.decide(&process_only) == Decision::Ignore => {
                Verdict::Group { cgroup }
            }
            _ => Verdict::Process,
        }
    }
}

fn subject(process: &Process) -> Subject<'_> {
    Subject {
        executable: &process.executable,
        container: process
            .container
            .as_ref()
            .map_or("", |container| container.id.as_str()),
        cgroup: &process.cgroup,
        port: None,
    }
}

/// The control group, where it holds nothing but one container: in hybrid set-ups the engine's own may hold all of them.
fn own_group(process: &Process) -> Option<u64> {
    let container = process.container.as_ref()?;
    let own = process.cgroup_id > 1 && process.cgroup.contains(&container.id);
    own.then_some(process.cgroup_id)
}
