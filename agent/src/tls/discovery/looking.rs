//! Reading mappings, opening files and looking into them: what costs time, one step after the other.

use std::fs::File;
use std::sync::Arc;

use super::processes::Use;
use super::{
    Attach, Discovery, Inspect, MAPPINGS_MAX, OpenedImage, SCAN_INTERVAL_NS, Scan, Work, bounded_name,
};
use crate::clock::monotonic_ns;
use crate::tls::inodes::Verdict;
use crate::tls::library::{Finding, Functions, Library, State};
use crate::tls::maps::unescape;
use crate::tls::opening::{OpenError, Opened, Wanted};
use crate::tls::slots::Id;

impl<I: Inspect, A: Attach> Discovery<I, A> {
    /// False: nothing waits.
    pub(super) fn look_at_next(&mut self) -> bool {
        let now_ns = monotonic_ns();
        if let Some(work) = self.queue.pop_front() {
            match work {
                Work::Process { pid } => self.read_process(pid, now_ns),
                Work::Mapping {
                    wanted,
                    generation,
                    program,
                } => self.look(&wanted, generation, program, now_ns),
            }
            return true;
        }
        if self.scan.is_some() {
            self.scan_next(now_ns);
            return true;
        }
        let due = self
            .scanned_ns
            .is_none_or(|scanned_ns| now_ns.saturating_sub(scanned_ns) >= SCAN_INTERVAL_NS);
        if self.scan_wanted && due {
            self.begin_scan(now_ns);
            return true;
        }
        false
    }

    fn begin_scan(&mut self, now_ns: u64) {
        self.scan_wanted = false;
        self.scanned_ns = Some(now_ns);
        match std::fs::read_dir(&self.limits.proc_root) {
            Ok(pids) => {
                let round = self.processes.begin_round();
                self.scan = Some(Scan { pids, round });
            }
            Err(error) => tracing::warn!(%error, "processes cannot be listed"),
        }
    }

    fn scan_next(&mut self, now_ns: u64) {
        let Some(scan) = &mut self.scan else { return };
        for entry in scan.pids.by_ref().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid.filter(|pid| *pid != self.own_pid) {
                self.read_process(pid, now_ns);
                return;
            }
        }
        let round = scan.round;
        self.scan = None;
        self.scanned_ns = Some(now_ns);
        self.counters.scans += 1;
        for pid in self.processes.unseen(round) {
            self.forget(pid, now_ns);
        }
    }

    /// Reads all mappings of a process, once; files that are not known are put where they wait.
    fn read_process(&mut self, pid: u32, now_ns: u64) {
        let maps = self.limits.proc_root.join(pid.to_string()).join("maps");
        let Ok(maps) = File::open(maps) else { return };
        let mut reader = std::mem::take(&mut self.reader);
        let mut places: Vec<Id> = Vec::new();
        let mut beyond = false;
        // Kernel threads have none, and are not followed.
        let mut followed = self.processes.knows(pid);
        let read = reader.read(maps, |mapping| {
            let Some(file) = mapping.file.filter(|_| mapping.executable) else {
                return true;
            };
            if !followed {
                followed = self.ensure(pid);
                if !followed {
                    return false;
                }
            }
            let known = self.opener.tells_files(file.device);
            if let Some(place) = self.inodes.place(file, None).filter(|_| known) {
                if let Err(at) = places.binary_search(&place) {
                    beyond |= places.len() >= MAPPINGS_MAX;
                    if !beyond {
                        places.insert(at, place);
                    }
                }
                return true;
            }
            let wanted = Wanted {
                pid,
                start: mapping.start,
                end: mapping.end,
                file,
                name: bounded_name(&unescape(mapping.name)).into(),
                parent: None,
            };
            self.enqueue_mapping(wanted, None);
            true
        });
        self.reader = reader;
        if !followed {
            return;
        }
        // Known before, and seen by this look.
        self.ensure(pid);
        self.counters.processes_read += 1;
        if let Ok(unread) = read {
            self.counters.maps_malformed += unread.malformed;
            self.counters.maps_long += unread.long;
            self.counters.maps_cut += u64::from(unread.cut);
        }
        for place in &places {
            self.inodes.join(*place);
        }
        for place in self.processes.replace(pid, places) {
            self.inodes.leave(place, now_ns);
        }
        if beyond {
            self.beyond_mappings(pid);
        }
        self.publish(pid);
    }

    /// A process has this mapped.
    pub(super) fn uses(&mut self, wanted: Wanted, generation: Option<u64>) {
        let known = self.opener.tells_files(wanted.file.device);
        match self.inodes.place(wanted.file, generation).filter(|_| known) {
            Some(place) => self.add(wanted.pid, place),
            None => self.enqueue_mapping(wanted, generation),
        }
    }

    fn enqueue_mapping(&mut self, wanted: Wanted, generation: Option<u64>) {
        if let Some(program) = self.processes.program(wanted.pid) {
            self.enqueue(Work::Mapping {
                wanted,
                generation,
                program,
            });
        }
    }

    fn add(&mut self, pid: u32, place: Id) {
        match self.processes.add(pid, place) {
            Use::Known => {}
            Use::BeyondLimit => self.beyond_mappings(pid),
            Use::New => {
                self.inodes.join(place);
                if !self.inodes.findings_at(place).is_empty() {
                    self.publish(pid);
                }
            }
        }
    }

    fn beyond_mappings(&mut self, pid: u32) {
        self.counters.mappings_beyond_limit += 1;
        self.miss(pid, format!("more than {MAPPINGS_MAX} files mapped"));
    }

    /// Opens the file of a mapping, and looks into it unless it is known.
    fn look(&mut self, wanted: &Wanted, generation: Option<u64>, program: u32, now_ns: u64) {
        let lives = match self.processes.program(wanted.pid) {
            Some(now) if now == program => true,
            // Another program by now.
            Some(_) => {
                self.counters.gone_before_look += 1;
                return;
            }
            // It was short. The next of its kind may be as well: the file may still be found.
            None => false,
        };
        let known = self.opener.tells_files(wanted.file.device);
        if let Some(place) = self.inodes.place(wanted.file, generation).filter(|_| known) {
            // Meanwhile.
            if lives {
                self.add(wanted.pid, place);
            } else {
                let findings = self.inodes.findings_at(place);
                self.findings.add_departed(wanted.pid, findings);
            }
            return;
        }
        let opened = match self.opener.open(wanted, &mut self.reader, now_ns) {
            Ok(opened) => opened,
            Err(error) => {
                self.not_opened(wanted.pid, &error);
                return;
            }
        };
        self.counters.files_opened += 1;
        let image = match self.inodes.image(&opened.identity, &opened.stamp, now_ns) {
            Some(image) => image,
            None => {
                if !self.inodes.has_room_for_file(&opened.identity) {
                    self.counters.files_beyond_limit += 1;
                    let most = self.limits.inodes.files;
                    self.miss(wanted.pid, format!("more than {most} files mapped on this node"));
                    return;
                }
                let verdict = self.verdict(&opened);
                self.inodes
                    .add_image(opened.identity, opened.stamp, opened.unlinked, verdict, now_ns)
            }
        };
        if !lives {
            let findings = self.inodes.findings_of(image);
            self.findings.add_departed(wanted.pid, findings);
            return;
        }
        // Of another file with that number, when stat(2) is what tells them apart.
        let generation = generation.filter(|_| opened.key == wanted.file);
        let place = self.inodes.add_place(opened.key, image, generation, now_ns);
        self.add(wanted.pid, place);
    }

    fn not_opened(&mut self, pid: u32, error: &OpenError) {
        let counter = match error {
            OpenError::Gone => &mut self.counters.gone_before_look,
            OpenError::Other => &mut self.counters.files_mismatched,
            OpenError::Irregular => &mut self.counters.files_irregular,
            OpenError::Served(_) => &mut self.counters.files_served,
            OpenError::Refused(_) => &mut self.counters.files_refused,
        };
        *counter += 1;
        self.miss(pid, error.to_string());
    }

    /// Looks into a file and has it probed; it stays open meanwhile.
    fn verdict(&mut self, opened: &Opened) -> Verdict<A::Probes> {
        self.counters.files_inspected += 1;
        let mut verdict = Verdict::NOTHING;
        match self.inspect.inspect(&opened.file) {
            Ok(libraries) => {
                for library in libraries {
                    let (state, probes) = self.probe(opened, &library);
                    verdict.probes.extend(probes);
                    verdict.findings.push(Arc::new(Finding {
                        library: Some(library.name),
                        version: library.version,
                        state,
                    }));
                }
            }
            Err(error) => {
                self.counters.files_rejected += 1;
                verdict.findings.push(Arc::new(Finding {
                    library: None,
                    version: None,
                    state: State::Rejected(error.to_string()),
                }));
            }
        }
        verdict
    }

    fn probe(&mut self, opened: &Opened, library: &Library) -> (State, Option<A::Probes>) {
        match &library.functions {
            Functions::NoSymbols => return (State::NoSymbols, None),
            Functions::Unsupported => return (State::Unsupported, None),
            Functions::Found(_) => {}
        }
        if !self.inodes.has_room_for_library() {
            self.counters.libraries_beyond_limit += 1;
            let most = self.limits.inodes.libraries;
            let reason = format!("more than {most} libraries probed on this node");
            return (State::AttachFailed(reason), None);
        }
        let image = OpenedImage { file: &opened.file };
        match self.attach.attach(&image, library) {
            Ok(probes) => {
                self.counters.libraries_attached += 1;
                (State::Attached, Some(probes))
            }
            Err(error) => {
                self.counters.libraries_failed += 1;
                (State::AttachFailed(error.to_string()), None)
            }
        }
    }
}
